"""A bundle goes from a server with an index to one without, with functions that need packages."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from functions_app.models import Environment, Function, FunctionVersion
from pipeline_app.runners import environments
from tests.builders import make_function, make_version
from tests.functions_app.management.test_exchange_commands import command
from tests.functions_app.sources import PIPE
from tests.wheels import make_wheel

pytestmark = pytest.mark.django_db


def needing(package: str) -> str:
    header = f'"""\ntitle: Lens\nrequirements: {package}\n"""\nimport bundlelens\n\n\n'
    return header + ("class Pipe:\n    def pipe(self, body: dict) -> str:\n        return bundlelens.VERSION\n")


@pytest.fixture(autouse=True)
def lens(wheels):
    """The package that functions ask for here."""
    make_wheel(wheels, "bundlelens", "1.0")


@pytest.fixture
def written(wheels, tmp_path) -> Path:
    """A bundle with one function that needs a package and one that needs none."""
    make_function("lens", needing("bundlelens"), is_global=True)
    make_function("plain", PIPE)
    path = tmp_path / "functions.bundle"
    code, said = command("export_functions", "--bundle", path)
    assert code == 0, said
    assert f"2 functions written to {path}, SHA-256 " in said
    return path


@pytest.fixture
def elsewhere(written, wheels, settings, tmp_path, monkeypatch) -> Path:
    """The bundle at another server, which has neither an index nor the functions."""
    digest = Environment.objects.get().digest
    Function.objects.all().delete()
    Environment.objects.all().delete()
    shutil.rmtree(environments.path_of(digest))
    shutil.rmtree(wheels)
    settings.FUNCTIONS_WHEELS = None
    settings.FUNCTIONS_INDEX_URL = "http://127.0.0.1:9/simple"
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another-cache"))
    return written


def test_it_has_the_wheels_of_what_functions_were_locked_to(written):
    with tarfile.open(written) as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("bundle.json"))
        told = json.load(archive.extractfile("functions.json"))
    assert names[:2] == ["bundle.json", "functions.json"]
    (one,) = index["sets"]
    assert (one["functions"], list(one["wheels"])) == (["lens"], ["bundlelens-1.0-py3-none-any.whl"])
    assert [(entry["id"], entry["is_global"]) for entry in told] == [("lens", True), ("plain", False)]


def test_it_is_imported_where_there_is_no_index(elsewhere):
    code, said = command("import_functions", elsewhere, "--flags")
    assert code == 0, said
    assert said.splitlines()[-3:] == ["created    lens   new", "created    plain  new", "2 created"]
    version = FunctionVersion.objects.get(function="lens")
    assert version.state == "live"
    assert version.environment.state == "ready"
    assert version.environment.packages == {"bundlelens": "1.0"}
    assert version.environment.size > 0
    assert Function.objects.get(pk="lens").is_global
    assert (environments.path_of(version.environment.digest) / "bundlelens.py").is_file()


def test_nothing_of_a_bundle_stays_beside_the_sets(elsewhere, settings):
    command("import_functions", elsewhere)
    assert not list(settings.FUNCTIONS_ENVIRONMENTS.glob(".bundle.*"))


def test_a_changed_bundle_changes_nothing(elsewhere):
    data = elsewhere.read_bytes()
    elsewhere.write_bytes(data.replace(b"bundlelens.VERSION", b"bundlelens.version"))
    code, said = command("import_functions", elsewhere)
    assert code == 1
    assert "functions.json in it has another hash than it should: the file was damaged or changed." in said
    assert not Function.objects.exists()
    assert not Environment.objects.exists()


def test_packages_for_another_code_than_that_in_the_bundle_are_refused(elsewhere):
    from tests.functions_app.exchange.test_bundle import members, rewritten

    content = members(elsewhere)
    told = json.loads(content["functions.json"])
    told[0]["content"] = told[0]["content"].replace("requirements: bundlelens", "requirements: other")
    content["functions.json"] = json.dumps(told).encode()
    _reseal(content)
    code, said = command("import_functions", rewritten(elsewhere, content))
    assert code == 1
    assert "lens: The packages that come with it are not those that its code asks for" in said
    assert not Function.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"python": "cpython-27-linux"}, "The packages in the bundle are for cpython-27-linux, and this server runs"),
        ({"kind": "complete"}, "The lock in the bundle was not written by this server's release."),
    ],
)
def test_packages_for_another_server_are_refused(elsewhere, changes, said):
    from tests.functions_app.exchange.test_bundle import members, rewritten

    content = members(elsewhere)
    index = json.loads(content["bundle.json"])
    index["sets"][0] |= changes
    content["bundle.json"] = json.dumps(index).encode()
    code, told = command("import_functions", rewritten(elsewhere, content))
    assert code == 1
    assert said in told
    assert not Function.objects.exists()


def test_a_bundle_does_not_choose_the_packages_of_other_functions(elsewhere):
    command("import_functions", elsewhere)
    other = make_function("other", needing("bundlelens"))
    assert other.newest.state == "broken"  # its packages are asked for where packages come from, which is nowhere here
    edited = make_version(Function.objects.get(pk="lens"), needing("bundlelens") + "# edited\n")
    assert edited.state == "live"


def test_what_the_server_forbids_is_not_imported_either(elsewhere, settings):
    settings.FUNCTIONS_PACKAGES = {"deny": ["bundlelens"]}
    code, said = command("import_functions", elsewhere)
    assert code == 1
    assert "bundlelens may not be installed on this server (FUNCTIONS_PACKAGES)." in said


def test_a_function_that_was_never_published_is_not_packed(wheels, tmp_path):
    make_function("lens", needing("bundlelens"), publish=False)
    code, said = command("export_functions", "--bundle", tmp_path / "b")
    assert code == 1
    assert "Nothing was written. What lens v1 asks for was never resolved" in said
    assert not (tmp_path / "b").exists()


def test_what_the_base_packages_meet_needs_no_wheels(tmp_path):
    make_function("plain", PIPE.replace('"""', '"""\ntitle: Plain\nrequirements: pydantic\n"""\n"""', 1))
    path = tmp_path / "b"
    assert command("export_functions", "--bundle", path)[0] == 0
    Function.objects.all().delete()
    code, said = command("import_functions", path)
    assert code == 0, said


def test_a_bundle_goes_to_a_file_of_its_own(tmp_path):
    assert command("export_functions", "--bundle", tmp_path / "b", "-o", tmp_path / "c")[0] == 2
    assert command("export_functions", "--with-base")[0] == 2


def _reseal(content: dict[str, bytes]) -> None:
    import hashlib

    index = json.loads(content["bundle.json"])
    index["functions"] = hashlib.sha256(content["functions.json"]).hexdigest()
    content["bundle.json"] = json.dumps(index).encode()
