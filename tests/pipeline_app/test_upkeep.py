"""What serves is there, and what nobody uses goes: on the disk as in the database."""

from __future__ import annotations

import os
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from functions_app import generation
from functions_app.models import Environment, FunctionVersion
from functions_app.runtime import RequirementError
from pipeline_app import clearing, upkeep
from pipeline_app.runners import environments
from pipeline_app.runners.environments import folders
from tests.builders import make_function, make_version
from tests.pipeline_app.management.test_install_requirements import folder_of, needing
from tests.pipeline_app.runners.environments.conftest import market, shop  # noqa: F401  # fixtures
from tests.wheels import make_wheel

pytestmark = pytest.mark.django_db

DAYS = 30
OLD = timezone.now() - timedelta(days=DAYS + 1)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A process that has given nothing up yet."""
    monkeypatch.setattr(upkeep, "given_up", set())
    monkeypatch.setattr(upkeep, "no_base", "")


@pytest.fixture
def disk(tmp_path, settings, monkeypatch) -> Path:
    """An empty folder for environments, without base packages, and nobody builds any."""
    monkeypatch.setattr(upkeep, "no_base", "It was tried.")
    settings.FUNCTIONS_ENVIRONMENTS = tmp_path / "environments"
    settings.FUNCTIONS_ENVIRONMENTS.mkdir()
    settings.FUNCTIONS_ENVIRONMENT_DAYS = DAYS
    return settings.FUNCTIONS_ENVIRONMENTS


def age(path: Path) -> Path:
    """Makes a folder, and its lock, look as if nobody had used it for long."""
    lock = path.with_name(f".{path.name}.lock")
    lock.touch()
    for one in (path, lock):
        os.utime(one, (OLD.timestamp(), OLD.timestamp()))
    return path


def make_set(digest: str, *, used_at=OLD, **fields) -> Environment:
    """Makes a set that is built, with its folder, and was used long ago."""
    folder = environments.path_of(digest)
    folder.mkdir()
    (folder / "module.py").write_text("x = 1\n")
    age(folder)
    lock = f"{digest}==1 --hash=sha256:{'0' * 64}\n"
    fields = {"state": "ready", "size": 6, "lock": lock, **fields}
    return Environment.objects.create(digest=digest, requirements=[digest], used_at=used_at, **fields)


def make_user_of(environment: Environment, state: str) -> FunctionVersion:
    """Makes a function whose only version is in a state and has the set."""
    version = make_function(publish=False).newest
    assert version is not None
    fields = {"manifest": {}} if state == "live" else {"error": {"type": "x"}} if state == "broken" else {}
    FunctionVersion.objects.filter(pk=version.pk).update(state=state, environment=environment, **fields)
    return version


# --- What nobody uses -------------------------------------------------------------------------------------


def test_a_set_that_no_version_has_goes_with_its_record(disk):
    row = make_set("a")
    assert clearing.clean() == [environments.path_of("a")]
    assert not environments.path_of("a").exists()
    assert not Environment.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("state", ["live", "building", "draft", "broken"])
def test_a_set_of_a_version_that_serves_or_may_come_to_stays(disk, state):
    make_user_of(make_set("a"), state)
    assert clearing.clean() == []
    assert environments.path_of("a").is_dir()


def test_of_a_retired_version_the_lock_stays_and_the_folder_goes(disk):
    row = make_set("a")
    make_user_of(row, "retired")
    assert clearing.clean() == [environments.path_of("a")]
    row.refresh_from_db()
    assert (row.size, bool(row.lock)) == (0, True)
    assert clearing.clean() == []


def test_a_broken_version_that_was_given_up_keeps_nothing(disk):
    version = make_user_of(make_set("a"), "broken")
    version.function.save_source("x = 1\n")
    assert clearing.clean() == [environments.path_of("a")]


def test_what_was_used_lately_stays(disk):
    make_set("a", used_at=timezone.now())
    make_set("b")
    os.utime(environments.path_of("b"))  # by another installation that has the same folder
    make_set("c")
    os.utime(
        environments.path_of("c").with_name(".set-c.lock")
    )  # by somebody who is about to write down that it is used
    assert clearing.clean() == []
    assert Environment.objects.count() == 3


def test_a_set_that_is_being_built_stays(disk):
    make_set("a", state="building")
    assert clearing.clean() == []
    make_set("b")
    with folders._locked(environments.path_of("b"), None, lambda told: None, is_use=False):
        assert clearing.clean() == []


def test_nothing_goes_when_everything_is_to_be_kept(disk, settings):
    settings.FUNCTIONS_ENVIRONMENT_DAYS = 0
    make_set("a")
    assert clearing.clean() == []


def test_folders_that_no_record_tells_of_go_when_they_are_old(disk):
    stray = age_of_new(disk / "set-stray")
    young = disk / "set-young"
    young.mkdir()
    old_base = age_of_new(disk / "base-of-another-python")
    base = age_of_new(environments.base_packages().path)
    assert sorted(clearing.clean()) == sorted([stray, old_base])
    assert young.is_dir()
    assert base.is_dir()


def test_what_killed_builds_and_commands_left_goes(disk):
    left = disk / ".set-a.k1ll3d"
    left.mkdir()
    (disk / ".set-a.lock").touch()
    bundle = age_of_new(disk / ".bundle.k1ll3d")
    fresh = disk / ".bundle.at-work"
    fresh.mkdir()
    clearing.clean()
    assert not left.exists()
    assert not bundle.exists()
    assert fresh.is_dir()


def test_records_of_failures_that_nobody_needs_go(disk):
    Environment.objects.create(requirements=["a"], state="failed", error={"code": "uv"}, used_at=OLD)
    kept = Environment.objects.create(requirements=["b"], state="failed", error={"code": "uv"})
    clearing.clean()
    assert list(Environment.objects.all()) == [kept]


def test_a_set_that_somebody_asks_for_while_it_goes_is_whole_or_gone(market):  # noqa: F811
    """Builds and removals of one set at the same time: whoever was handed a folder has all of it."""
    make_wheel(market, "lens", "1.0")
    resolved = environments.resolve(["lens"])
    path = environments.build(resolved)
    stop = threading.Event()
    removed = 0

    def remove() -> None:
        nonlocal removed
        while not stop.is_set():
            age(path) if path.is_dir() else None
            removed += environments.remove(resolved.digest, lambda: True)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(20):
            environments.build(resolved)
    finally:
        stop.set()
        remover.join()
    environments.build(resolved)
    assert (path / "lens.py").is_file()


def age_of_new(path: Path) -> Path:
    path.mkdir()
    return age(path)


# --- Who uses what ----------------------------------------------------------------------------------------


def test_users_of_a_set_are_counted_once_a_function(disk):
    row = make_set("a")
    version = make_user_of(row, "live")
    draft = version.function.save_source("x = 1\n")
    FunctionVersion.objects.filter(pk=draft.pk).update(environment=row)
    make_user_of(row, "retired")
    make_user_of(row, "building")
    assert Environment.objects.with_users().get().users == 2


def test_what_serves_is_marked_as_used_without_anybody_being_told(disk):
    used, other = make_set("a"), make_set("b")
    make_user_of(used, "live")
    make_user_of(other, "retired")
    token = generation.stored()
    began = time.time() - 1
    upkeep.use()
    used.refresh_from_db()
    other.refresh_from_db()
    assert used.used_at > OLD
    assert other.used_at == OLD
    assert environments.path_of("a").stat().st_mtime > began > environments.path_of("b").stat().st_mtime
    assert generation.stored() == token


# --- What serves ------------------------------------------------------------------------------------------


def test_what_serves_is_built_where_it_lacks(wheels):
    make_wheel(wheels, "upkeeplens", "1.0")
    function = make_function("lens", needing("upkeeplens", module="upkeeplens"))
    folder = folder_of(function)
    shutil.rmtree(folder)
    token = generation.stored()
    assert upkeep.missing() == [function.live]
    upkeep.attend()
    assert folder.is_dir()
    assert generation.stored() != token
    assert upkeep.missing() == []


def test_one_process_looks_after_a_folder_at_a_time(disk):
    make_set("a")
    with upkeep._alone() as first:
        assert first
        upkeep.attend()
        assert environments.path_of("a").is_dir()
    upkeep.attend()
    assert not environments.path_of("a").exists()


def test_what_cannot_be_built_is_said_and_the_others_are(wheels, caplog):
    make_wheel(wheels, "upkeeplens", "1.0")
    make_wheel(wheels, "upkeepglass", "1.0")
    glass = make_function("glass", needing("upkeepglass", module="upkeepglass"))
    lens = make_function("lens", needing("upkeeplens", module="upkeeplens"))
    for function in (glass, lens):
        shutil.rmtree(folder_of(function))
    shutil.rmtree(wheels.parent / "uv-cache")
    (wheels / "upkeepglass-1.0-py3-none-any.whl").unlink()
    upkeep.attend()
    assert folder_of(lens).is_dir()
    (said,) = [message for message in caplog.messages if "glass v1" in message]
    assert said.startswith("glass v1 serves, but its packages can't be had here: ")
    glass.refresh_from_db()
    assert glass.live.state == "live"
    make_wheel(wheels, "upkeepglass", "1.0")
    upkeep.attend()
    assert not folder_of(glass).exists()  # it is not tried again and again, but when somebody asks for it


def test_a_version_that_serves_gets_its_new_set_only_when_it_loads_with_it(wheels):
    make_wheel(wheels, "upkeeplens", "1.0")
    source = needing("upkeeplens", module="upkeeplens") + "assert upkeeplens.VERSION == '1.0', 'no more'\n"
    function = make_function("lens", source)
    before = function.live.environment
    make_wheel(wheels, "upkeeplens", "2.0")
    with pytest.raises(upkeep.FAILURES, match="no more"):
        upkeep.upgrade(FunctionVersion.objects.get(pk=function.live_id))
    assert FunctionVersion.objects.get(pk=function.live_id).environment == before


def test_a_version_that_serves_no_more_is_left_alone(wheels):
    make_wheel(wheels, "upkeeplens", "1.0")
    function = make_function("lens", needing("upkeeplens", module="upkeeplens"))
    first = function.live
    make_version(function, needing("upkeeplens", module="upkeeplens") + "# edited\n")
    make_wheel(wheels, "upkeeplens", "2.0")
    assert upkeep.upgrade(FunctionVersion.objects.get(pk=first.pk)) is False
    first.refresh_from_db()
    assert first.state == "retired"


def test_a_server_that_starts_builds_what_lacks_beside_serving(start_server, wheels, tmp_path, settings):
    make_wheel(wheels, "upkeeplens", "1.0")
    (tmp_path / "lens.py").write_text(needing("upkeeplens", module="upkeeplens"))
    server = start_server(FUNCTIONS_WHEELS=str(wheels))
    server.manage("import_functions", str(tmp_path / "lens.py"))
    server.stop()
    sets = settings.FUNCTIONS_ENVIRONMENTS.glob("set-*/upkeeplens.py")
    (folder,) = [path.parent for path in sets]
    shutil.rmtree(folder)
    server.start()
    deadline = time.monotonic() + 60
    while not (folder / "upkeeplens.py").is_file():
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)


def test_a_disk_that_can_only_be_read_is_left_alone(disk, settings, tmp_path, caplog):
    (tmp_path / "file").touch()
    settings.FUNCTIONS_ENVIRONMENTS = tmp_path / "file"
    upkeep.attend()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_base_packages_that_are_missing_are_installed_once_and_what_is_wrong_is_said(shop, settings, caplog):  # noqa: F811
    settings.FUNCTIONS_WHEELS = shop / "wheels"
    wheel = shop / "wheels" / "tinypackage-1.0-py3-none-any.whl"
    away = wheel.rename(shop / "away")
    assert upkeep.base_trouble().startswith("The base packages of functions are not installed for this Python.")
    epoch = generation.epoch()
    upkeep.attend()
    assert "tinypackage is not in the folder" in upkeep.base_trouble()
    assert "run manage.py install_requirements again" in upkeep.base_trouble()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        f"Functions run without the base packages. {upkeep.base_trouble()}"
    ]
    away.rename(wheel)
    upkeep.attend()
    assert environments.base_path() is None  # it is not tried again and again
    upkeep.no_base = ""
    assert generation.epoch() == epoch
    upkeep.attend()
    assert (environments.base_path() / "tinypackage.py").is_file()
    assert (upkeep.base_trouble(), generation.epoch() != epoch) == ("", True)


# --- All sets together --------------------------------------------------------------------------------------


def megabytes(digest: str, count: float, hours: float, **fields) -> Environment:
    """Makes a set of so many MB that nobody has used for so many hours."""
    moment = timezone.now() - timedelta(hours=hours)
    row = make_set(digest, used_at=moment, **fields)
    path = environments.path_of(digest)
    (path / "data").write_bytes(bytes(int(count * 1024 * 1024)))
    os.utime(path, (moment.timestamp(), moment.timestamp()))
    return row


def sets_in(disk: Path) -> set[str]:
    return {path.name for path in disk.glob("set-*")}


def test_what_nobody_uses_makes_room_the_oldest_first(disk, settings):
    for digest, hours in (("a", 30), ("b", 5), ("c", 20), ("d", 1)):
        megabytes(digest, 1, hours)
    os.link(environments.path_of("b") / "data", environments.path_of("d") / "shared")  # counts once
    assert 4 <= clearing.taken() / 1024 / 1024 < 4.1
    settings.FUNCTIONS_ENVIRONMENTS_MB = 5
    clearing.make_room()
    assert len(sets_in(disk)) == 4
    settings.FUNCTIONS_ENVIRONMENTS_MB = 3
    clearing.make_room()
    assert sets_in(disk) == {"set-b", "set-d"}
    assert Environment.objects.get(digest="a").size == 0
    settings.FUNCTIONS_ENVIRONMENTS_MB = 0
    clearing.make_room()
    assert sets_in(disk) == {"set-b", "set-d"}


def test_what_is_in_use_or_was_lately_makes_no_room(disk, settings):
    row = megabytes("a", 1, 30)
    make_function()
    FunctionVersion.objects.update(environment=row)
    megabytes("b", 1, 1)
    settings.FUNCTIONS_ENVIRONMENTS_MB = 1
    with pytest.raises(
        RequirementError, match=r"take 2 MB on this machine, and together they may take 1 \(F"
    ) as caught:
        clearing.make_room()
    assert (caught.value.code, sets_in(disk)) == ("no_room", {"set-a", "set-b"})


def test_without_room_nothing_new_is_built_and_what_is_there_serves(wheels, settings):
    make_wheel(wheels, "upkeeplens", "1.0")
    make_wheel(wheels, "upkeepglass", "1.0")
    lens = make_function("lens", needing("upkeeplens", module="upkeeplens"))
    settings.FUNCTIONS_ENVIRONMENTS_MB = 0.001
    glass = make_function("glass", needing("upkeepglass", module="upkeepglass"))
    assert glass.newest.state == "broken"
    assert glass.newest.environment.error["code"] == "no_room"
    edit = make_version(lens, needing("upkeeplens", module="upkeeplens") + "# edited\n")
    assert edit.state == "live"
    settings.FUNCTIONS_ENVIRONMENTS_MB = 0
    assert glass.newest.publish() is True
