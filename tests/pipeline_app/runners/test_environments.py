"""Base packages, built by the real uv from a small wheel on disk, so that no index is needed."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from functions_app.runtime import RequirementError
from pipeline_app.runners import environments


def make_wheel(folder: Path, name: str, version: str) -> str:
    """Writes a wheel with one module and returns its lock line."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture
def shop(tmp_path, settings, monkeypatch) -> Path:
    """A project folder with a lock of one small package, and an index that is a folder."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    settings.BASE_DIR = tmp_path
    settings.FUNCTIONS_ENVIRONMENTS = tmp_path / "environments"
    (tmp_path / environments.LOCK_NAME).write_text(make_wheel(tmp_path / "wheels", "tinypackage", "1.0"))
    return tmp_path


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
    assert message.startswith("The base packages could not be installed from requirements-functions.txt (uv ended with")
    assert "ash mismatch for `tinypackage==1.0`" in message
    assert message.endswith("then run manage.py install_requirements again; nothing was changed.")
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
    environment = environments._uv_environment()
    assert environment["UV_DEFAULT_INDEX"] == "http://127.0.0.1:9/simple"
    assert environment["SSL_CERT_FILE"] == "/mine.pem"
    assert "VIRTUAL_ENV" not in environment


# --- What a function asks for -------------------------------------------------------------------------


def test_requirements_that_are_there_pass(shop):
    environments.build_base()
    environments.check_requirements(["tinypackage", "tinypackage>=1,<2", "TinyPackage[extra]==1.0", "django>=4"])


def test_a_requirement_of_another_platform_is_not_asked_for(shop):
    environments.check_requirements(['pywin32; sys_platform == "never"'])


def test_missing_requirements_are_named(shop):
    environments.build_base()
    with pytest.raises(RequirementError) as caught:
        environments.check_requirements(["no-such-thing", "tinypackage", "another-one>=2,<3"])
    assert str(caught.value) == (
        "no-such-thing and another-one>=2,<3 cannot be imported: this server installs no packages for single functions "
        "yet, and they are not among the base packages (requirements-functions.txt)."
    )


def test_without_base_packages_the_way_to_get_them_is_said(shop):
    with pytest.raises(RequirementError) as caught:
        environments.check_requirements(["tinypackage"])
    assert str(caught.value) == (
        "tinypackage cannot be imported: the base packages are not installed yet. Run manage.py install_requirements."
    )


def test_another_version_is_used_with_a_warning(shop, caplog):
    environments.build_base()
    environments.check_requirements(["tinypackage==0.5"])
    assert caplog.messages == ["A function asks for tinypackage==0.5 and gets version 1.0, the one that is installed"]


def test_what_is_no_requirement_is_refused(shop):
    with pytest.raises(RequirementError, match="'a b' is not a requirement as PEP 508 writes it"):
        environments.check_requirements(["a b"])


# --- The real thing -------------------------------------------------------------------------------------


def test_the_real_base_has_what_functions_are_written_against(base_packages):
    names = {path.name for path in base_packages.iterdir()}
    assert {"pydantic", "fastapi", "starlette", "requests", "httpx", "aiohttp", "openai"} <= names
