"""How a version comes to its packages, with real wheels and uv: shared, found again, failed, and looked at."""

from __future__ import annotations

import secrets
import shutil
import subprocess

import pytest
from django.urls import reverse

from functions_app.models import Environment
from pipeline_app import preparing
from pipeline_app.runners import environments
from tests.builders import make_function, make_version
from tests.wheels import make_wheel

pytestmark = pytest.mark.django_db

PIPE = "class Pipe:\n    def pipe(self, body):\n        return {what}\n"


def asking(requirements: str, imports: str = "") -> str:
    head = f'"""\nrequirements: {requirements}\n"""\n'
    return (
        head + (f"import {imports}\n" if imports else "") + PIPE.format(what=f"{imports}.VERSION" if imports else "''")
    )


@pytest.fixture
def wheels(tmp_path, settings, base_packages, monkeypatch):
    """A folder of wheels, no two alike, as the only source; their sets are removed after the test."""
    settings.FUNCTIONS_WHEELS = tmp_path / "wheels"
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    add(settings.FUNCTIONS_WHEELS, "lens", "1.0")
    yield settings.FUNCTIONS_WHEELS
    for row in Environment.objects.exclude(digest=""):
        remove(row)


def add(folder, name, version):
    make_wheel(folder, name, version, files={f"{name}_salt": secrets.token_hex(8)})


def remove(row):
    path = environments.path_of(row.digest)
    subprocess.run(["chmod", "-R", "u+w", path], check=False)
    shutil.rmtree(path, ignore_errors=True)


def test_functions_with_the_same_lock_share_a_set(wheels):
    first = make_function(source=asking("lens", "lens"))
    second = make_function(source=asking("lens>=1", "lens"))
    row = Environment.objects.get()
    assert (first.live.environment, second.live.environment) == (row, row)
    assert (row.state, row.kind, row.packages, row.requirements) == ("ready", "overlay", {"lens": "1.0"}, ["lens"])
    assert row.size > 0
    assert row.log.splitlines()[0] == "Finding versions of lens"


def test_an_edit_and_an_older_version_keep_the_packages_that_were_locked(wheels):
    function = make_function(source=asking("lens", "lens"))
    first = function.live
    add(wheels, "lens", "1.1")
    edit = make_version(function, asking("lens", "lens") + "# edited\n")
    assert edit.environment == first.environment
    other = make_version(function, asking("lens>1", "lens"))
    assert other.environment.packages == {"lens": "1.1"}
    (wheels / "lens-1.0-py3-none-any.whl").unlink()
    first.refresh_from_db()
    assert first.publish() is True
    assert first.environment.packages == {"lens": "1.0"}


def test_what_the_base_packages_have_needs_no_set(wheels):
    function = make_function(source=asking("pydantic>=2"))
    assert (function.live.environment, Environment.objects.count()) == (None, 0)


def test_a_function_with_packages_that_cannot_be_had_harms_no_other(wheels):
    good = make_function(source=asking("lens", "lens"))
    bad = make_function(source=asking("nowhere"))
    broken = bad.newest
    assert (broken.state, broken.error["type"]) == ("broken", "RequirementError")
    assert broken.environment.error["code"] == "unknown_package"
    good.refresh_from_db()
    assert good.live.environment.state == "ready"
    # The same row is the record of the next attempt, and of the one that works.
    assert broken.publish() is False
    assert Environment.objects.count() == 2
    add(wheels, "nowhere", "1.0")
    assert broken.publish() is True
    assert Environment.objects.get(requirements=["nowhere"]).error is None


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("import lens\n\nclass Pipe\n", "SyntaxError", "expected ':'"),
        ("import lens\n\nclass Pipes:\n    pass\n", "LoadError", "There is no class Pipe, Filter, Action or Event at"),
        ("import lens\nimport ctypes\n" + PIPE.format(what="''"), "ImportError", "not allow it to import ctypes"),
    ],
)
def test_what_can_not_serve_with_any_packages_costs_no_build(wheels, code, error, message):
    source = '"""\nrequirements: lens\n"""\n' + code
    function = make_function(source=source, policy={"imports": {"deny": ["ctypes"]}})
    broken = function.newest
    assert (broken.state, broken.error["type"], broken.environment) == ("broken", error, None)
    assert message in broken.error["message"]
    if error == "SyntaxError":
        assert (broken.error["line"], "class Pipe" in broken.error["traceback"]) == (6, True)
    assert not Environment.objects.exists()


def test_a_class_that_no_text_can_show_is_looked_for_where_the_packages_are(wheels):
    made = "import lens\n\nglobals()['Pi' + 'pe'] = type('Made', (), {'pipe': lambda self, body: lens.VERSION})\n"
    function = make_function(source='"""\nrequirements: lens\n"""\n' + made)
    assert (function.live.manifest["kind"], function.live.environment.packages) == ("pipe", {"lens": "1.0"})


def test_a_set_whose_folder_is_gone_is_built_from_its_lock(wheels):
    function = make_function(source=asking("lens", "lens"))
    row = function.live.environment
    add(wheels, "lens", "1.1")
    remove(row)
    assert not preparing.is_there(row)
    built = preparing.build(row)
    assert (built, preparing.is_there(built), built.packages) == (row, True, {"lens": "1.0"})


def test_what_may_no_longer_be_installed_keeps_new_versions_from_serving_and_no_set_from_others(wheels, settings):
    function = make_function(source=asking("lens", "lens"))
    settings.FUNCTIONS_PACKAGES = {"deny": ["lens"]}
    edit = make_version(function, asking("lens", "lens") + "# edited\n")
    assert edit.state == "broken"
    assert "FUNCTIONS_PACKAGES" in edit.error["message"]
    row = Environment.objects.get()
    assert (row.state, function.live.number) == ("ready", 1)


def test_the_admin_shows_what_went_wrong_with_the_log_and_tries_again(wheels, admin):
    function = make_function("asker", source=asking("nowhere"))
    row = function.newest.environment
    page = admin.get(reverse("admin:functions_app_function_version", args=["asker", 1]))
    assert "nowhere is not in the folder" in page.text
    assert "Finding versions of nowhere" in page.text
    listed = admin.get(reverse("admin:functions_app_function_versions", args=["asker"]))
    assert "Try again" in listed.text
    assert "http-equiv" not in listed.text
    change = admin.get(reverse("admin:functions_app_environment_change", args=[row.pk]))
    assert "unknown_package" in change.text
    assert "asker v1 (broken)" in change.text
    add(wheels, "nowhere", "1.0")
    admin.post(reverse("admin:functions_app_function_version", args=["asker", 1]))
    function.refresh_from_db()
    assert function.live.environment.packages == {"nowhere": "1.0"}


def test_the_admin_has_failed_sets_built_again(wheels, admin, staff):
    function = make_function("asker", source=asking("nowhere"))
    url = reverse("admin:functions_app_environment_changelist")
    chosen = {"action": "build_again", "_selected_action": [str(function.newest.environment.pk)]}
    staff("view_environment").post(url, chosen)
    assert function.newest.state == "broken"
    told = admin.post(url, chosen, follow=True)
    assert "1 set of packages will be built again. Published again: asker v1." in told.text
    assert function.newest.state == "building"
    page = admin.get(reverse("admin:functions_app_function_versions", args=["asker"]))
    assert '<meta http-equiv="refresh" content="5">' in page.text
    assert "being published" in page.text


def test_the_api_shows_sets_and_a_create_that_is_refused_names_its_set(wheels, api):
    refused = api.post("/api/v1/functions/create", {"id": "asker", "content": asking("nowhere")})
    assert (refused.status, refused.error["code"]) == (400, "load_failed")
    told = api.get(f"/api/v1/environments/{refused.json['environment_id']}").json
    assert (told["state"], told["error"]["code"], told["versions"]) == ("failed", "unknown_package", [])
    assert told["log"]
    (listed,) = api.get("/api/v1/environments/").json
    assert listed == {name: value for name, value in told.items() if name not in ("lock", "log")}
    again = api.post(f"/api/v1/environments/{told['id']}/retry")
    assert (again.status, again.json["state"], again.json["error"]) == (202, "building", None)
    assert api.post(f"/api/v1/environments/{told['id']}/retry").status == 202
    for missing in ("nothing", "00000000-0000-4000-8000-000000000000"):
        assert api.post(f"/api/v1/environments/{missing}/retry").error["code"] == "environment_not_found"
