"""Base packages, built by the real uv from a small wheel on disk, so that no index is needed."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from tests.wheels import make_wheel


def test_nothing_is_found_before_it_is_built(shop):
    assert environments.base_path() is None
    assert environments.add_base_to_path() is None


def test_the_base_is_a_directory_named_by_lock_and_python(shop):
    path = environments.build_base()
    assert path == environments.base_path() == environments.base_packages().path
    assert path.parent == shop / "environments"
    assert (path / "tinypackage.py").is_file()
    note = json.loads((path / ".webui-functions.json").read_text())
    assert note == {
        "lock": "requirements-functions.txt",
        "python": environments.python_tag(),
        "packages": {"tinypackage": "1.0"},
    }


def test_modules_are_compiled_when_installed(shop):
    path = environments.build_base()
    assert list(path.glob(f"__pycache__/tinypackage.{sys.implementation.cache_tag}.pyc"))


def test_a_changed_lock_makes_a_directory_beside_the_old_one(shop):
    old = environments.build_base()
    (shop / environments.LOCK_NAME).write_text(make_wheel(shop / "wheels", "tinypackage", "2.0"))
    assert environments.base_path() is None
    new = environments.build_base()
    assert new != old
    assert "1.0" in (old / "tinypackage.py").read_text()
    assert "2.0" in (new / "tinypackage.py").read_text()


def test_building_again_installs_nothing(shop):
    environments.build_base()
    said: list[str] = []
    environments.build_base(said.append)
    assert said == []


def test_two_that_build_at_once_install_once(shop):
    said: list[str] = []
    threads = [threading.Thread(target=environments.build_base, args=[said.append]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("Installing what requirements-functions.txt lists") == 1
    assert environments.base_path() is not None


def test_a_wrong_hash_leaves_nothing_behind_and_repeats_what_uv_says(shop):
    lock = shop / environments.LOCK_NAME
    lock.write_text("tinypackage==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(RequirementError) as caught:
        environments.build_base()
    message = str(caught.value)
    assert caught.value.code == "hash"
    assert message.startswith("The base packages could not be installed from requirements-functions.txt. A package is ")
    assert "ash mismatch for `tinypackage==1.0`" in message
    assert message.endswith("run manage.py install_requirements again; nothing was changed.")
    assert [p.name for p in (shop / "environments").iterdir() if not p.name.endswith(".lock")] == []


def test_what_a_killed_build_left_is_removed_by_the_next(shop):
    left_over = shop / "environments" / f".{environments.base_packages().path.name}.k1ll3d"
    left_over.mkdir(parents=True)
    environments.build_base()
    assert not left_over.exists()


def test_a_requirement_without_hash_is_refused(shop):
    (shop / environments.LOCK_NAME).write_text("tinypackage==1.0\n")
    with pytest.raises(RequirementError, match="--require-hashes"):
        environments.build_base()


def test_a_missing_lock_is_said_with_its_place(shop):
    (shop / environments.LOCK_NAME).unlink()
    with pytest.raises(
        RequirementError, match=r"The list of base packages cannot be read: .*\(No such file or directory\)"
    ):
        environments.base_packages()


def test_a_folder_that_cannot_be_written_is_said_with_the_setting(shop, settings):
    blocked = shop / "blocked"
    blocked.write_text("a file where the folder should be")
    settings.FUNCTIONS_ENVIRONMENTS = blocked
    with pytest.raises(RequirementError, match="point FUNCTIONS_ENVIRONMENTS to a writable folder"):
        environments.build_base()


def test_the_base_comes_last_on_the_path_and_once(shop, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = environments.build_base()
    environments.add_base_to_path()
    environments.add_base_to_path()
    assert sys.path[-1] == str(path)
    assert sys.path.count(str(path)) == 1


def test_pins_are_known_by_normalised_name(shop):
    (shop / environments.LOCK_NAME).write_text('Some_Thing==1.2 ; python_version < "4" \\\n    --hash=sha256:00\n')
    assert environments.base_packages().pins == {"some-thing": "1.2"}


def test_uv_is_told_what_pip_was_told(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CERT", "/pip.pem")
    monkeypatch.setenv("SSL_CERT_FILE", "/mine.pem")
    monkeypatch.setenv("VIRTUAL_ENV", "/somebody/elses")
    environment = environments.uv.environment()
    assert environment["UV_DEFAULT_INDEX"] == "http://127.0.0.1:9/simple"
    assert environment["SSL_CERT_FILE"] == "/mine.pem"
    assert "VIRTUAL_ENV" not in environment


# --- The real thing -------------------------------------------------------------------------------------


def test_the_real_base_has_what_functions_are_written_against(base_packages):
    names = {path.name for path in base_packages.iterdir()}
    assert {"pydantic", "fastapi", "starlette", "requests", "httpx", "aiohttp", "openai"} <= names
