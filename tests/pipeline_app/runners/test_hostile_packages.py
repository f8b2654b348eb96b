"""Hostile packages of functions. "D1" and so on are the numbers of the hostile list, "Dependencies"."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from django.conf import settings

from pipeline_app.errors import FunctionUnavailable
from pipeline_app.runners.layers import Layers
from pipeline_app.runners.sandbox import Sandbox
from tests.pipeline_app.runners.conftest import call, code
from tests.pipeline_app.runners.packaged import (
    ASKED,
    complete,
    completing,
    imported,
    on_linux,
    overlaid,
    own_runner,
    thing,
)

LOOKS = """
    import os, sys

    def tried(what, *given):
        try:
            return str(what(*given))
        except OSError as error:
            return type(error).__name__

    def write(path, mode):
        with open(path, mode) as file:
            file.write("changed")

    class Filter:
        def inlet(self, body):
            mine, other = body["mine"], body["other"]
            return {
                "list mine": tried(lambda: sorted(os.listdir(mine))),
                "read mine": tried(lambda: open(mine + "/thing.py").read()),
                "list other": tried(os.listdir, other),
                "read other": tried(lambda: open(other + "/thing.py").read()),
                "list all": tried(os.listdir, os.path.dirname(mine)),
                "new": tried(write, mine + "/new.py", "w"),
                "changed": tried(write, mine + "/thing.py", "a"),
                "emptied": tried(os.truncate, mine + "/thing.py", 0),
                "removed": tried(os.unlink, mine + "/thing.py"),
                "renamed": tried(os.rename, mine + "/thing.py", mine + "/thing2.py"),
                "moved": tried(os.rename, mine, mine + "-2"),
                "linked": tried(os.link, mine + "/thing.py", os.getcwd() + "/thing.py"),
                "folder": tried(os.mkdir, mine + "/thing2"),
                "rights": tried(os.chmod, mine + "/thing.py", 0),
                "rights of the folder": tried(os.chmod, mine, 0),
                "times": tried(os.utime, mine + "/thing.py", (0, 0)),
                "attribute": tried(os.setxattr, mine + "/thing.py", "user.evil", b"1"),
                "new in base": tried(write, body["base"] + "/new.py", "w"),
            }
"""

HOSTILE = """
    import os
    os.environ["WHO_RAN"] = os.environ.get("WHO_RAN", "") + f"{__name__}:{os.getpid()} "
"""
RAN = """
    import os, sys
    class Filter:
        def inlet(self, body):
            return {"ran": os.environ.get("WHO_RAN", ""), "pid": os.getpid()}
"""


@on_linux
@pytest.mark.parametrize("placed", [overlaid, completing, complete])
async def test_d1_lines_of_pth_files_run_inside_the_worker_only(process_runner, packages, placed):
    line = "import os; os.environ['WHO_RAN'] = str(os.getpid())\n"
    folder = packages({"evil.pth": line, "nspkg.pth": "../\nhere\n", "here/found.py": "VERSION = 1"})
    told = (await call(process_runner, placed(RAN, folder), "inlet")).value
    assert told["ran"] == str(told["pid"])
    assert "WHO_RAN" not in os.environ
    assert (await call(process_runner, code(RAN, "bystander"), "inlet")).value["ran"] == ""
    assert (await call(process_runner, complete(RAN, packages(thing(1)), "bystander"), "inlet")).value["ran"] == ""
    assert await imported(process_runner, placed(ASKED, folder), "found") == {"found": 1}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import time; time.sleep(60)", "took longer than"),
        ("import os; os._exit(5)", "ended its process"),
        ("import sys; sys.exit(5)", "SystemExit"),
        ("import os; os.kill(os.getpid(), 9)", "ended its process"),
    ],
)
async def test_d1_a_pth_file_that_hangs_or_ends_its_process_is_the_functions_own_error(
    process_runner, packages, line, said
):
    folder = packages({"evil.pth": f"{line}\n"})
    with pytest.raises(FunctionUnavailable, match=said):
        await process_runner.prepare(
            overlaid(RAN, folder, function_id=f"evil{uuid.uuid4().hex}", time_limit={"load": 1})
        )
    assert (await call(process_runner, code(RAN, "bystander"), "inlet")).value["ran"] == ""


async def test_d1_a_pth_file_that_fails_harms_nothing(process_runner, packages):
    folder = packages(
        {
            "evil.pth": "import this_is_not_there\n",
            "worse.pth": "\x00\udcff\n".encode("utf-8", "replace").decode(),
            **thing(1),
        }
    )
    assert await imported(process_runner, overlaid(ASKED, folder), "thing") == {"thing": "1"}


@pytest.mark.parametrize("placed", [overlaid, completing, complete])
async def test_d2_site_customisations_are_not_executed(process_runner, packages, placed):
    folder = packages({"sitecustomize.py": HOSTILE, "usercustomize.py": HOSTILE, "sitecustomize/__init__.py": HOSTILE})
    assert (await call(process_runner, placed(RAN, folder), "inlet")).value["ran"] == ""


@pytest.mark.parametrize("placed", [overlaid, completing, complete])
async def test_d3_modules_of_the_names_of_ours_and_of_the_standard_library_are_not_found(
    process_runner, packages, placed
):
    names = ["json", "asyncio", "os", "site", "struct", "encodings.idna", "pipeline_app", "pipeline_app.worker"]
    names += ["pipeline_app.worker.checking", "pipeline_app.worker.probes", "open_webui"]
    if placed is not complete:
        names += ["pydantic", "starlette.requests", "requests", "pyflakes", "lxml"]
    files = {}
    for name in names:
        path = name.replace(".", "/")
        files[f"{path}/__init__.py"] = f"raise RuntimeError({name!r} + ' of the package')"
    folder = packages(files)
    source = f"""
        import importlib
        class Filter:
            def inlet(self, body):
                return {{n: getattr(importlib.import_module(n), "__file__", None) for n in {names!r}}}
    """
    found = (await call(process_runner, placed(source, folder), "inlet")).value
    assert [name for name, file in found.items() if file is not None and Path(file).is_relative_to(folder)] == []
    checked = await process_runner.check(placed(source, folder))
    assert checked.error is None
    assert checked.look is not None


@on_linux
@pytest.mark.parametrize("placed", [overlaid, completing, complete])
async def test_d8_code_at_import_of_a_dependency_runs_confined(process_runner, packages, placed, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("not for you")
    evil = f"""
        import os, socket
        def tried(what, *given):
            try:
                return str(what(*given))
            except OSError as error:
                return type(error).__name__
        SAID = {{
            "file": tried(open, {str(secret)!r}),
            "database": tried(open, {str(settings.DATABASES["default"]["NAME"])!r}),
            "write": tried(open, {str(tmp_path / "new")!r}, "w"),
            "fork": tried(os.fork),
            "program": tried(os.execv, "/bin/sh", ["sh"]),
            "kill": tried(os.kill, {os.getpid()}, 0),
            "connect": tried(socket.create_connection, ("127.0.0.1", 1)),
        }}
    """
    source = """
        import evil
        class Filter:
            def inlet(self, body):
                return evil.SAID
    """
    said = (await call(process_runner, placed(source, packages({"evil.py": evil})), "inlet")).value
    assert set(said.values()) <= {"PermissionError", "FileNotFoundError"}, said
    assert not (tmp_path / "new").exists()


@on_linux
@pytest.mark.parametrize("placed", [overlaid, complete])
@pytest.mark.parametrize("layers", [Layers(), Layers(bubblewrap=False)], ids=["all layers", "without bubblewrap"])
async def test_d10_and_d11_packages_of_others_are_not_read_and_ones_own_not_changed(
    packages, base_packages, placed, layers
):
    mine, other = packages(thing("mine")), packages(thing("other"))
    async with own_runner(Sandbox(layers=layers)) as runner:
        body = {"mine": mine, "other": other, "base": str(base_packages)}
        before = [os.stat(path) for path in (mine, f"{mine}/thing.py")]
        found = (await call(runner, placed(LOOKS, mine), "inlet", body)).value
    assert found.pop("list mine") == "['thing.py']"
    assert found.pop("read mine") == "VERSION = 'mine'\n"
    for pretended in ("rights", "rights of the folder", "times"):
        del found[pretended]
    assert set(found.values()) <= {"PermissionError", "OSError", "FileNotFoundError"}, found
    for seen, path in zip(before, (mine, f"{mine}/thing.py"), strict=True):
        now = os.stat(path)
        assert (now.st_mode, now.st_mtime_ns, now.st_size) == (seen.st_mode, seen.st_mtime_ns, seen.st_size)
    assert sorted(os.listdir(mine)) == ["thing.py"]
    assert (Path(mine) / "thing.py").read_text() == "VERSION = 'mine'\n"
    assert not (base_packages / "new.py").exists()
