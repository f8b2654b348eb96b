"""Functions with packages of their own: laid over the base packages, or complete in their place.

How they are resolved and built is tested with ``runners.environments``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from functions_app.runtime import LoadError
from pipeline_app.errors import FunctionError, FunctionUnavailable
from pipeline_app.runners import environments
from pipeline_app.runners.layers import Layers
from pipeline_app.runners.process import ProcessRunner
from pipeline_app.runners.sandbox import Sandbox
from tests.pipeline_app.runners.conftest import call, code, until
from tests.pipeline_app.runners.packaged import ASKED, complete, imported, on_linux, overlaid, own_runner, thing

# --- What is found ------------------------------------------------------------------------------------


async def test_versions_of_one_package_answer_side_by_side(process_runner, packages):
    old, new = packages(thing(1)), packages(thing(2))
    own = packages({**thing(3), "pydantic/__init__.py": "VERSION = 'mine'", "httpx.py": "__version__ = 'mine'"})
    versions = [
        overlaid(ASKED, old, function_id="old"),
        overlaid(ASKED, new, function_id="new"),
        complete(ASKED, own, function_id="own"),
        code(ASKED, "none"),
    ]
    found = await asyncio.gather(*(imported(process_runner, one, "thing", "httpx", "pydantic") for one in versions))
    import httpx
    import pydantic

    base = {"httpx": httpx.__version__, "pydantic": pydantic.VERSION}
    assert found == [
        {"thing": "1", **base},
        {"thing": "2", **base},
        {"thing": "3", "httpx": "mine", "pydantic": "mine"},
        {"thing": "ModuleNotFoundError", **base},
    ]


async def test_an_edit_that_brings_other_packages_takes_effect(process_runner, packages):
    version = overlaid(ASKED, packages(thing(1)))
    assert await imported(process_runner, version, "thing") == {"thing": "1"}
    version = replace(version, packages=(packages(thing(2)),))
    assert await imported(process_runner, version, "thing") == {"thing": "2"}
    version = replace(version, packages=(), environment=packages(thing(3)))
    assert await imported(process_runner, version, "thing") == {"thing": "3"}


def test_a_version_with_other_packages_is_another_one():
    one = code(ASKED)
    keys = {
        one.key,
        replace(one, packages=("/a",)).key,
        replace(one, packages=("/a", "/b")).key,
        replace(one, environment="/a").key,
        replace(one, environment="/b").key,
    }
    assert len(keys) == 5


async def test_in_a_complete_environment_nothing_of_the_base_is_found(process_runner, packages):
    environment = packages(thing(1))
    found = await imported(process_runner, complete(ASKED, environment), "thing", "pydantic", "fastapi", "requests")
    assert found == {"thing": "1", **dict.fromkeys(("pydantic", "fastapi", "requests"), "ModuleNotFoundError")}


@on_linux
async def test_what_a_loaded_base_package_did_without_is_there_for_a_function_that_brings_it(process_runner, packages):
    source = """
        import requests.adapters
        from requests.compat import json
        class Filter:
            def inlet(self, body):
                return {"json": json.__name__, "requests": requests.__file__}
    """
    simple = "from json import *\nfrom json import JSONDecodeError\n"
    version = overlaid(source, packages({"simplejson/__init__.py": simple}))
    found = (await call(process_runner, version, "inlet")).value
    assert found["json"] == "simplejson"
    assert Path(found["requests"]).is_relative_to(environments.base_path())
    worker = await process_runner.prepare(version)
    sandbox = process_runner.inner._sandbox
    assert worker.worker.running.shared_mb == sandbox._empty.shared_mb < sandbox._supervisor.shared_mb
    worker.release()
    assert (await call(process_runner, code(source, "plain"), "inlet")).value["json"] == "json"


async def test_a_function_with_packages_is_inspected_validated_and_checked_with_them(process_runner, packages):
    source = """
        import thing
        from pydantic import BaseModel

        class Filter:
            class Valves(BaseModel):
                priority: int = int(thing.VERSION)
            def __init__(self):
                self.valves = self.Valves()
            def inlet(self, body):
                return body
    """
    model = """
        class BaseModel:
            model_fields = {}
            def __init__(self, **given): self.given = given
            def model_dump(self, **_): return self.given
            @classmethod
            def model_json_schema(cls): return {"properties": {}, "title": "of the environment"}
    """
    for version in (
        overlaid(source, packages(thing(7))),
        complete(source, packages({**thing(7), "pydantic.py": model})),
    ):
        manifest = await process_runner.inspect(version)
        assert manifest["priority"] == 7
        assert manifest["valves"]["title"] == ("of the environment" if version.environment else "Valves")
        assert await process_runner.validate(version, "valves", {"priority": 3}) == {"priority": 3}
        checked = await process_runner.check(version)
        assert checked.error is None
        assert checked.look["manifest"]["priority"] == 7


async def test_models_of_the_first_pydantic_have_a_schema_and_are_validated(runner):
    source = """
        from pydantic.v1 import BaseModel, Field

        class Filter:
            class Valves(BaseModel):
                priority: int = 3
                key: str = Field("", input={"type": "password"})
            def __init__(self):
                self.valves = self.Valves()
            def inlet(self, body):
                return {"key": self.valves.key}
    """
    version = code(source)
    manifest = await runner.inspect(version)
    assert manifest["priority"] == 3
    assert manifest["valves"]["properties"]["key"]["input"] == {"type": "password"}
    assert await runner.validate(version, "valves", {"key": "k", "priority": "4"}) == {"key": "k", "priority": 4}
    assert (await call(runner, version, "inlet", valves={"key": "k"})).value == {"key": "k"}
    checked = await runner.check(version)
    assert checked.look["findings"] == []


async def test_packages_that_are_gone_are_a_sentence_until_they_are_back(process_runner, packages):
    folder = packages(thing(1))
    for version in (overlaid(ASKED, folder), complete(ASKED, folder)):
        Path(folder).rename(f"{folder}-away")
        with pytest.raises(FunctionUnavailable, match=r"machine: tests-\w+ is missing. Run manage.py install_"):
            await process_runner.prepare(version)
        with pytest.raises(LoadError, match="is missing"):
            await process_runner.inspect(version)
        Path(f"{folder}-away").rename(folder)
        assert await imported(process_runner, version, "thing") == {"thing": "1"}


@pytest.mark.parametrize("which", ["process", "inline"])
@pytest.mark.parametrize(
    "line",
    [
        "from shallow import it",
        "import nested.deep",
        "from pydantic import it",
    ],
)
async def test_where_packages_lie_on_the_server_is_not_told(process_runner, inline_runner, packages, which, line):
    files = {"shallow.py": "", "nested/__init__.py": "", "nested/deep.py": "open(__file__ + '.txt')\n"}
    version = overlaid(f"{line}\nclass Filter: pass\n", packages(files), function_id="told")
    runner = process_runner if which == "process" else inline_runner
    with pytest.raises(LoadError) as caught:
        await runner.inspect(version)
    told = f"{caught.value.error['message']}\n{caught.value.error['traceback']}"
    name = line.split()[1].replace(".", "/")
    assert f"{name}.py" in told or f"{name}/__init__.py" in told
    assert '"/functions/told/v1.py", line 1' in told
    for place in (settings.BASE_DIR, settings.FUNCTIONS_ENVIRONMENTS, sys.prefix, Path(version.packages[0]).parent):
        assert str(place) not in told


@pytest.mark.parametrize("which", ["process", "inline"])
async def test_packages_of_another_python_are_a_sentence(request, packages, which):
    runner = request.getfixturevalue(f"{which}_runner")
    note = {".webui-functions.json": '{"python": "cpython-30-beos"}'}
    with pytest.raises(FunctionUnavailable, match="are for cpython-30-beos, and the server runs cpython-"):
        await runner.prepare(overlaid(ASKED, packages(thing(1) | note)))


# --- The process that workers with a complete environment come from -----------------------------------


@on_linux
async def test_it_is_there_while_it_is_needed(packages):
    environment = packages(thing(1))
    async with own_runner(idle_seconds=0.3) as runner:
        maker = runner._sandbox._empty
        assert maker.pid == 0
        assert await imported(runner, code(ASKED, "base"), "thing") == {"thing": "ModuleNotFoundError"}
        assert maker.pid == 0
        one, two = complete(ASKED, environment, "one"), complete(ASKED, environment, "two")
        workers = await asyncio.gather(runner.prepare(one), runner.prepare(two))
        pid = maker.pid
        assert pid > 0
        await asyncio.sleep(1.0)
        assert maker.pid == pid  # its workers are held
        for worker in workers:
            worker.release()
        assert await until(lambda: maker.pid == 0)
        assert await until(lambda: not Path(f"/proc/{pid}").exists())
        assert await imported(runner, one, "thing") == {"thing": "1"}
        assert maker.pid not in (0, pid)
        last = maker.pid
    assert not Path(f"/proc/{last}").exists()


@on_linux
async def test_when_it_dies_its_workers_live_on_and_another_one_is_started(packages):
    environment = packages(thing(1))
    async with own_runner() as runner:
        maker = runner._sandbox._empty
        one = complete(ASKED, environment, "one")
        worker = await runner.prepare(one)
        dead, base = maker.pid, runner._sandbox._supervisor.pid
        os.kill(dead, signal.SIGKILL)
        assert await imported(runner, one, "thing") == {"thing": "1"}
        assert runner.state("one")["workers"][0]["pid"] == worker.running.pid
        assert await imported(runner, complete(ASKED, environment, "two"), "thing") == {"thing": "1"}
        assert maker.pid not in (0, dead)
        assert runner._sandbox._supervisor.pid == base
        worker.release()


async def test_many_first_workers_start_it_once_and_closing_meanwhile_leaves_nothing(packages):
    environment = packages(thing(1))
    runner = ProcessRunner()
    await runner.open()
    starts = [asyncio.create_task(runner.prepare(complete(ASKED, environment, f"f{n}"))) for n in range(6)]
    await asyncio.sleep(0.05)
    await runner.close()
    for ended in await asyncio.gather(*starts, return_exceptions=True):
        assert not isinstance(ended, Exception) or isinstance(ended, FunctionUnavailable), ended


@on_linux
async def test_a_worker_of_it_is_confined_counted_and_limited_like_any_other(process_runner, packages):
    source = """
        import os
        class Filter:
            def inlet(self, body):
                if body.get("die"):
                    os._exit(9)
                kept = bytearray(body["mb"] << 20)
                kept[::4096] = b"x" * len(kept[::4096])
                return {"mb": len(kept) >> 20}
    """
    environment = packages(thing(1))
    ours, other = complete(source, environment, memory_mb=192), code(source, "other", memory_mb=192)
    inner = process_runner.inner
    await process_runner.open()
    attested = inner.attestation
    reports = []
    for version in (ours, other):
        worker = await process_runner.prepare(version)
        running = worker.worker.running
        keep = ("landlock", "landlock_version", "seccomp", "capabilities", "network", "notes")
        reports.append({name: running.forked.report.get(name) for name in keep})
        assert running.memory_mb > running.shared_mb > 1
        assert running.own_mb < 60
        worker.release()
    assert reports[0] == reports[1]
    assert inner.attestation is attested
    assert inner.isolation == attested.level
    assert (await call(process_runner, ours, "inlet", {"mb": 16})).value == {"mb": 16}
    with pytest.raises(FunctionError) as caught:
        await call(process_runner, ours, "inlet", {"mb": 400})
    assert caught.value.data["type"] in ("MemoryError", "SandboxLimit", "WorkerDied")
    for _ in range(8):
        with contextlib.suppress(FunctionUnavailable), pytest.raises(FunctionError):
            await call(process_runner, ours, "inlet", {"die": True})
    assert [opening.function_id for opening in inner.trips][:1] == ["complete"]
    assert (await call(process_runner, other, "inlet", {"mb": 1})).value == {"mb": 1}


# --- Where there is no zygote, and where there is no process of their own -----------------------------


async def test_workers_that_are_started_one_by_one_find_them_too(packages, settings):
    settings.FUNCTIONS_MIN_ISOLATION = "process"
    bare = Layers(bubblewrap=False, landlock=False, seccomp=False, capabilities=False)
    own = packages({**thing(2), "pydantic.py": "VERSION = 'mine'"})
    async with own_runner(Sandbox(layers=bare, forks=False)) as runner:
        import pydantic

        first = packages(thing(1))
        found = await imported(runner, overlaid(ASKED, first), "thing", "pydantic")
        assert found == {"thing": "1", "pydantic": pydantic.VERSION}
        found = await imported(runner, complete(ASKED, own), "thing", "pydantic", "httpx")
        assert found == {"thing": "2", "pydantic": "mine", "httpx": "ModuleNotFoundError"}
        pids = [runner.state(name)["workers"][0]["pid"] for name in ("overlaid", "complete")]
        scratch = [worker.scratch for worker in runner._pool._workers]
        assert len(set(pids)) == len({os.path.exists(folder) and folder for folder in scratch} - {False}) == 2
        os.kill(pids[1], signal.SIGKILL)
        assert await until(lambda: sum(map(os.path.exists, scratch)) == 1)
        assert await imported(runner, overlaid(ASKED, first), "thing") == {"thing": "1"}


async def test_the_inline_runner_finds_what_is_laid_over_the_base(inline_runner, packages, monkeypatch):
    name = f"thing_{uuid.uuid4().hex}"
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = packages({f"{name}.py": "VERSION = 'laid over'", "json/__init__.py": "raise RuntimeError"})
    version = overlaid(ASKED, folder)
    assert await imported(inline_runner, version, name, "json") == {name: "laid over", "json": "2.0.9"}
    assert sys.path[-1] == folder
    assert (await inline_runner.inspect(version))["kind"] == "filter"
    assert sys.path.count(folder) == 1


async def test_the_inline_runner_refuses_a_complete_environment_with_a_sentence(inline_runner, packages):
    version = complete(ASKED, packages(thing(1)))
    wanted = "conflict with the base packages.*FUNCTIONS_RUNNER=process"
    with pytest.raises(FunctionUnavailable, match=wanted):
        await inline_runner.prepare(version)
    with pytest.raises(LoadError, match=wanted):
        await inline_runner.inspect(version)
    checked = await inline_runner.check(version)
    assert "FUNCTIONS_RUNNER=process" in checked.error["message"]
    with pytest.raises(FunctionUnavailable, match="is missing"):
        await inline_runner.prepare(overlaid(ASKED, "/nowhere/set"))
