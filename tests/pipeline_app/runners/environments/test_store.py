"""Sets of packages on disk, installed by the real uv from small wheels: whole or not at all, once, and unharmed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import django
import pytest

from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from pipeline_app.runners.environments import Placed, build, folders, path_of, placed, resolve, stored
from pipeline_app.runners.environments.base import NOTE
from tests.settings import CHECKOUT
from tests.wheels import Index, make_wheel, sha256


def locked(*lines: str, kind: str = "overlay"):
    return stored(SimpleNamespace(requirements=["lens"], lock="# A lock\n" + "".join(lines), digest="", kind=kind))


def refused(resolved, **given) -> RequirementError:
    with pytest.raises(RequirementError) as caught:
        build(resolved, **given)
    return caught.value


def left_in(root) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


@pytest.fixture
def root(shop, settings):
    """The folder of all sets, without base packages; wheels come from the folder of the shop."""
    settings.FUNCTIONS_WHEELS = shop / "wheels"
    return shop / "environments"


# --- Built ------------------------------------------------------------------------------------------------


def test_a_set_is_a_directory_named_by_its_lock(root, shop):
    said: list[str] = []
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    path = build(found, said.append)
    assert path == path_of(found.digest) == root / f"set-{found.digest}"
    assert (path / "lens.py").read_text() == "VERSION = '1.5'\n"
    assert list(path.glob("__pycache__/lens.*.pyc"))
    assert said[0] == "Installing lens 1.5"
    note = json.loads((path / ".webui-functions.json").read_text())
    assert (note["kind"], note["python"], note["packages"]) == ("overlay", environments.python_tag(), {"lens": "1.5"})
    assert environments.size_of(found.digest) == note["size"] > 500


def test_what_is_built_is_not_built_again(root, shop):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    build(found)
    said: list[str] = []
    assert build(found, said.append) == path_of(found.digest)
    assert said == []


def test_only_what_is_locked_is_installed(root, shop):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5", requires=["tinypackage"]))
    assert {path.name for path in build(found).iterdir()} == {
        "lens.py", "lens-1.5.dist-info", "__pycache__", ".webui-functions.json",
    }  # fmt: skip


def test_files_are_for_reading_and_stay_those_of_uvs_cache(root, shop):
    path = build(locked(make_wheel(shop / "wheels", "lens", "1.5")))
    about = (path / "lens.py").stat()
    assert stat.S_IMODE(about.st_mode) & 0o222 == 0
    assert about.st_nlink > 1


def test_nothing_needed_is_nothing_to_build(market):
    with pytest.raises(ValueError, match="nothing to build"):
        build(resolve(["tinypackage"]))


def test_a_worker_is_told_where_its_packages_are(root):
    assert placed(None) == placed(SimpleNamespace(digest="", kind="overlay")) == Placed((), "")
    assert placed(SimpleNamespace(digest="ab", kind="overlay")) == Placed((str(root / "set-ab"),), "")
    assert placed(SimpleNamespace(digest="ab", kind="complete")) == Placed((), str(root / "set-ab"))


# --- Once, whole, and by whoever comes -----------------------------------------------------------------


BUILD = """
import sys, types, django
django.setup()
from pipeline_app.runners import environments
row = types.SimpleNamespace(requirements=[], lock=sys.stdin.read(), digest="", kind="overlay")
print(environments.build(environments.stored(row)))
"""


@pytest.fixture
def elsewhere(shop, settings, monkeypatch):
    """Starts other processes that build a lock, from an index on loopback."""
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("UV_FIND_LINKS")
    begun: list[subprocess.Popen[str]] = []

    def start(found) -> subprocess.Popen[str]:
        told = {"DJANGO_SETTINGS_MODULE": "webui_functions.settings", "DATA_DIR": str(shop / "data")}
        told |= {"FUNCTIONS_ENVIRONMENTS": str(shop / "environments"), "FUNCTIONS_INDEX_URL": index.url}
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
            env=os.environ | told,
        )  # fmt: skip
        begun.append(process)
        assert process.stdin is not None
        process.stdin.write(found.lock)
        process.stdin.close()
        return process

    with Index(shop / "wheels") as index:
        settings.FUNCTIONS_INDEX_URL = index.url
        yield SimpleNamespace(start=start, index=index)
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_processes_that_build_the_same_at_once_build_it_once(elsewhere, shop):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    elsewhere.index.gate.clear()
    first = elsewhere.start(found)
    until(lambda: any("lens-1.5" in path for path in elsewhere.index.asked))
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        elsewhere.index.gate.set()

    assert build(found, say) == path_of(found.digest)
    assert first.wait() == 0
    assert said == ["Waiting for another process that installs the same packages"]
    assert [path for path in elsewhere.index.given if path.endswith(".whl")] == ["/files/lens-1.5-py3-none-any.whl"]


def test_a_process_that_is_killed_while_it_builds_leaves_nothing_in_use(elsewhere, shop):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    elsewhere.index.gate.clear()
    killed = elsewhere.start(found)
    until(lambda: any("lens-1.5" in path for path in elsewhere.index.asked))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    root = shop / "environments"
    assert not path_of(found.digest).exists()
    assert left_in(root) != []
    if sys.platform == "linux":  # uv, which waits for the index, has ended with it: the lock that it held is free
        until(lambda: environments.sweep() == 1)
        assert left_in(root) == []
    elsewhere.index.gate.set()  # elsewhere its uv goes on by itself, and holds the lock meanwhile
    path = build(found)
    assert (path / "lens.py").is_file()
    assert left_in(root) == [path.name]


def test_threads_that_build_the_same_at_once_build_it_once(root, shop):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    said: list[str] = []
    threads = [threading.Thread(target=build, args=[found, said.append]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("Installing lens 1.5") == 1


def test_waiting_for_another_process_ends(root, shop, settings):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    settings.FUNCTIONS_BUILD_SECONDS = 0.3
    root.mkdir()
    with folders._locked(path_of(found.digest), folders.Budget(), print):
        error = refused(found)
    assert error.code == "timeout"
    assert str(error).startswith("Another process that installs the same packages has not ended.")
    with folders._locked(path_of(found.digest), folders.Budget(), print):
        assert refused(found, say=lambda _: environments.interrupt()).code == "stopped"


# --- What cannot be built ------------------------------------------------------------------------------------


def test_a_changed_wheel_is_refused_and_nothing_is_left(root, shop):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    make_wheel(shop / "wheels", "lens", "1.5", files={"lens/evil.py": "print('hello')"})
    error = refused(found)
    assert error.code == "hash"
    assert str(error).startswith("A package is not the one that was locked: its hash differs.")
    assert left_in(root) == []


def test_a_lock_without_hashes_is_refused(root, shop):
    make_wheel(shop / "wheels", "lens", "1.5")
    assert "--require-hashes" in str(refused(locked("lens==1.5\n")))


def test_a_package_that_is_gone_is_named(root, shop):
    line = make_wheel(shop / "wheels", "lens", "1.5")
    (shop / "wheels" / "lens-1.5-py3-none-any.whl").unlink()
    error = refused(locked(line))
    assert error.code == "unknown_package"
    assert str(error) == f"lens is not in the folder {shop / 'wheels'}. Put the missing wheels there."


@pytest.mark.parametrize("parts", [1, 40])
def test_a_package_that_unpacks_to_more_than_a_set_may_have_is_refused(root, shop, settings, parts):
    settings.FUNCTIONS_BUILD_MB = 20
    files = {f"lens_{number}.bin": bytes(400_000_000 // parts) for number in range(parts)}
    found = locked(make_wheel(shop / "wheels", "lens", "1.5", files=files))
    error = refused(found)
    assert error.code == "too_large"
    assert str(error) == (
        "The packages need more than the 20 MB that one set of packages may have. Ask for fewer, or raise "
        "FUNCTIONS_BUILD_MB."
    )
    assert left_in(root) == []
    cache = shop / "uv-cache"
    assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000] == []


def test_an_installation_that_takes_too_long_is_ended(elsewhere, shop, settings):
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    elsewhere.index.gate.clear()
    settings.FUNCTIONS_BUILD_SECONDS = 1
    assert refused(found).code == "timeout"
    assert left_in(shop / "environments") == []


def test_a_folder_that_cannot_be_written_is_said(root, shop, settings):
    settings.FUNCTIONS_ENVIRONMENTS = shop / "blocked"
    settings.FUNCTIONS_ENVIRONMENTS.write_text("a file where the folder should be")
    assert "point FUNCTIONS_ENVIRONMENTS to a writable folder" in str(refused(locked("lens==1.5\n")))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes; skips where this process may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("place", ["sets", "cache"])
def test_a_full_disk_is_said_and_nothing_is_left_of_the_set(root, shop, settings, monkeypatch, small_disk, place):
    if place == "sets":
        settings.FUNCTIONS_ENVIRONMENTS = small_disk
    else:
        monkeypatch.setenv("UV_CACHE_DIR", str(small_disk))
    error = refused(locked(make_wheel(shop / "wheels", "lens", "1.5", files={"large": os.urandom(4_000_000)})))
    assert error.code == "disk_full"
    assert "Make room, then try again." in str(error)
    assert left_in(settings.FUNCTIONS_ENVIRONMENTS) == []
    build(locked(make_wheel(shop / "wheels", "lens", "1.6")))


# --- Hostile wheels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["../../escaped.py", "{tmp}/escaped.py", "lens/../../../escaped.py"])
def test_a_file_outside_is_not_written(root, shop, tmp_path, place):
    place = place.format(tmp=tmp_path)
    found = locked(make_wheel(shop / "wheels", "lens", "1.5", files={place: "ESCAPED = True\n"}))
    try:
        build(found)
    except RequirementError as error:
        assert error.code == "uv"  # refused as a whole is as good
    assert [path for path in tmp_path.rglob("escaped.py") if path_of(found.digest) not in path.parents] == []


def test_a_script_that_is_called_python_is_refused(root, shop):
    files = {"lens-1.5.data/scripts/python": "#!python\nprint('mine')\n"}
    found = locked(make_wheel(shop / "wheels", "lens", "1.5", files=files))
    error = refused(found)
    assert "python" in str(error)
    assert left_in(root) == []


def test_a_link_in_a_wheel_changes_nothing_where_it_leads(root, shop, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o600)
    line = make_wheel(shop / "wheels", "lens", "1.5")
    wheel = shop / "wheels" / "lens-1.5-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a") as archive:
        link = zipfile.ZipInfo("lens_link.py")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(secret))
    line = line.replace(line.partition("sha256:")[2].strip(), sha256(wheel))
    build(locked(line))
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("hidden", 0o600)


@pytest.mark.parametrize("place", ["{note}", "{note}/inner"])
def test_a_wheel_says_nothing_of_the_set_it_is_in_and_changes_no_other(root, shop, place):
    files = {place.format(note=NOTE): json.dumps({"python": "mine", "size": 7})}
    lens = make_wheel(shop / "wheels", "lens", "1.5", files=files)
    first = build(locked(lens))
    told = (first / NOTE).read_text()
    assert json.loads(told)["packages"] == {"lens": "1.5"}
    build(locked(lens, make_wheel(shop / "wheels", "other", "1.0")))
    assert (first / NOTE).read_text() == told


def test_a_wheel_runs_nothing_while_it_is_installed(root, shop, tmp_path):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\n"
    files = {"lens.pth": f"import sys; {code}", "sitecustomize.py": code, "compileall.py": code, "json.py": code}
    build(locked(make_wheel(shop / "wheels", "lens", "1.5", files=files)))
    assert not ran.exists()


def packages_of_the_server() -> dict[str, str]:
    """Returns all files of the server's own packages with their digests; Python writes ``__pycache__`` itself."""
    paths = [path for path in Path(django.__file__).parents[1].rglob("*") if "__pycache__" not in path.parts]
    return {str(path): sha256(path) if path.is_file() else "" for path in paths}


def test_fifty_installs_leave_the_servers_own_packages_byte_identical(market):
    """Of packages that the server has, and of those that it lacks; each brings a script and files to share."""
    before = packages_of_the_server()
    for number in range(50):
        name = ("django", "pydantic", "packaging", "httpx", "lens")[number % 5]
        files = {f"{name}/__init__.py": "", f"{name}-{number}.data/data/share/{name}": "x"}
        make_wheel(market, name, str(number), files=files)
        build(resolve([f"{name}=={number}"]))
    assert len([path for path in market.with_name("environments").iterdir() if path.name.startswith("set-")]) == 50
    assert packages_of_the_server() == before


def test_sets_change_neither_the_server_nor_the_base_packages_nor_each_other(market, shop):
    def files(folder):
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before, base = packages_of_the_server(), environments.base_path()
    base_before = files(base)
    for version in ("0.1", "99"):
        for name in ("django", "packaging", "tinypackage"):
            make_wheel(market, name, version)
    first = build(resolve(["django==0.1", "packaging==0.1", "tinypackage==0.1"]))
    first_before = files(first)
    second = build(resolve(["django==99", "packaging==99", "tinypackage==99"]))
    assert (first / "tinypackage.py").read_text() != (second / "tinypackage.py").read_text()
    assert files(first) == first_before
    assert files(base) == base_before
    assert packages_of_the_server() == before


# --- Removed -----------------------------------------------------------------------------------------------


@pytest.fixture
def old(root, shop):
    """A set that nobody asked for lately."""
    found = locked(make_wheel(shop / "wheels", "lens", "1.5"))
    lock = folders._lock_of(build(found))
    os.utime(lock, (1, 1))
    return found


def test_a_set_that_nobody_uses_is_removed(old, root):
    assert environments.remove(old.digest, lambda: True)
    assert list(root.iterdir()) == []
    assert environments.remove(old.digest, lambda: True)
    assert build(old).is_dir()


def test_a_set_that_is_used_or_was_just_asked_for_stays(old):
    assert not environments.remove(old.digest, lambda: False)
    build(old)
    assert not environments.remove(old.digest, lambda: True)
    assert path_of(old.digest).is_dir()


def test_a_set_that_is_being_built_stays(old):
    with folders._locked(path_of(old.digest), folders.Budget(), print):
        assert not environments.remove(old.digest, lambda: True)


def test_whoever_asks_while_a_set_is_removed_builds_it_again(old, shop):
    asked = threading.Event()
    paths: list[object] = []

    def ask() -> None:
        asked.set()
        paths.append(build(old))

    thread = threading.Thread(target=ask)

    def still_unused() -> bool:
        thread.start()
        return asked.wait(10)

    assert environments.remove(old.digest, still_unused)
    thread.join()
    assert paths == [path_of(old.digest)]
    assert path_of(old.digest).is_dir()


def test_what_killed_builds_left_is_swept_away_but_not_what_is_being_built(old, root):
    killed, busy = root / f".set-{old.digest}.k1ll3d", root / ".set-ab.b1s1"
    killed.mkdir()
    busy.mkdir()
    with folders._locked(root / "set-ab", folders.Budget(), print):
        assert environments.sweep() == 1
    assert (killed.exists(), busy.exists()) == (False, True)


# --- The real thing -----------------------------------------------------------------------------------------


def test_a_package_of_the_real_index_is_resolved_and_built(base_packages, settings, tmp_path):
    """Skipped where the index cannot be reached; asks for one small package."""
    base, settings.FUNCTIONS_ENVIRONMENTS = base_packages, tmp_path / "environments"
    settings.FUNCTIONS_ENVIRONMENTS.mkdir()
    (tmp_path / "environments" / base.name).symlink_to(base)
    try:
        found = resolve(["requests[socks]"])
    except RequirementError as error:
        assert error.code in ("network", "unknown_package"), error
        pytest.skip("no package index")
    assert (found.kind, set(found.packages)) == ("overlay", {"pysocks"})
    assert (build(found) / "socks.py").is_file()
