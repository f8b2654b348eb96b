"""Workers that are started one by one, as where nothing can be forked; here without the layers of this machine too."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys

import pytest

from pipeline_app.errors import WorkerDied
from pipeline_app.runners import launch
from pipeline_app.runners.forked import NotStarted
from pipeline_app.runners.layers import Layers, readable
from pipeline_app.runners.process import ProcessRunner
from pipeline_app.runners.sandbox import Sandbox
from pipeline_app.runners.scratch import Scratch
from pipeline_app.runners.spawn import Spawner
from pipeline_app.runners.zygote import ZygoteGone
from tests.pipeline_app.runners.conftest import call, code, said, task, until
from tests.pipeline_app.runners.talk import CONFIG, Talk, run

BARE = Layers(bubblewrap=False, landlock=False, seccomp=False, capabilities=False)
PIPE = "import os\nclass Pipe:\n    def pipe(self):\n        yield os.getcwd()\n"


def spawner(scratch, **given):
    return Spawner(scratch, layers=BARE, readable=readable(), **given)


def test_a_worker_is_started_serves_and_ends():
    async def story():
        scratch = Scratch()
        made = spawner(scratch)
        await made.start()
        talk = Talk(await made.fork(CONFIG))
        assert (await talk.load(PIPE))["error"] is None
        items, done = await talk.stream()
        assert items == [str(talk.forked.folder)]
        assert done["error"] is None
        ends = []
        talk.forked.on_exit = ends.append
        talk.forked.kill()
        assert await talk.gone() == signal.SIGKILL
        assert ends == [signal.SIGKILL]
        assert not talk.forked.folder.exists()
        talk.close()
        await made.close()
        with pytest.raises(ZygoteGone):
            await made.fork(CONFIG)
        scratch.close()

    run(story)


def test_a_worker_that_holds_its_loop_ends_with_the_connection():
    async def story():
        scratch = Scratch()
        made = spawner(scratch)
        await made.start()
        talk = Talk(await made.fork(CONFIG))
        await talk.load("class Pipe:\n    async def pipe(self):\n        while True: pass\n")
        await talk.begin_stream()
        await asyncio.sleep(0.1)
        talk.forked.sync.shutdown(2)
        assert await talk.gone() == 0
        talk.close()
        await made.close()
        scratch.close()

    run(story)


def test_closing_ends_all_of_them():
    async def story():
        scratch = Scratch()
        made = spawner(scratch)
        await made.start()
        forked = await asyncio.gather(*(made.fork(CONFIG) for _ in range(2)))
        await made.close()
        assert [worker.ended for worker in forked] == [True, True]
        for worker in forked:
            worker.close()
        scratch.close()

    run(story)


def test_what_cannot_be_started_says_so():
    async def story():
        scratch = Scratch()
        made = spawner(scratch, prefix=["/no/such/program"])
        await made.start()
        with pytest.raises(NotStarted, match="No such file"):
            await made.fork(CONFIG)
        assert made.workers == []
        await made.close()
        scratch.close()

    run(story)


LINUX_ONLY = {
    os: ("pidfd_open", "getxattr", "memfd_create"),
    signal: ("pidfd_send_signal",),
    socket: ("SO_PASSCRED", "SO_PEERCRED", "SCM_CREDENTIALS"),
    resource: ("prlimit", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_RTPRIO", "RLIMIT_NICE"),
}
ELSEWHERE = "import os, resource, signal, socket, sys\nsys.platform = 'darwin'\n" + "".join(
    f"{module.__name__}.__dict__.pop({name!r}, None)\n" for module, names in LINUX_ONLY.items() for name in names
)
FUNCTION = """
import asyncio, os, sys
class Pipe:
    def pipes(self):
        return [{"id": str(os.getpid()), "name": sys.platform}]
    async def pipe(self, body):
        for word in ("one ", "two ", "three"):
            yield word
            await asyncio.sleep(0)
        if body.get("wait"):
            await asyncio.sleep(60)
"""


@pytest.fixture(params=["here", "elsewhere"])
def platform(request, monkeypatch, base_packages, settings):
    """This platform, and one that has nothing of what only Linux has, in the workers too. Elsewhere has ``/proc``."""
    settings.FUNCTIONS_MIN_ISOLATION = "process"
    if request.param == "elsewhere":
        for module, names in LINUX_ONLY.items():
            for name in names:
                monkeypatch.delattr(module, name, raising=False)
        monkeypatch.setattr("sys.platform", "darwin")
        monkeypatch.setattr(launch, "BOOTSTRAP", ELSEWHERE + launch.BOOTSTRAP)
    return sys.platform


async def test_a_whole_runner_without_a_zygote_and_without_layers(platform, caplog):
    caplog.set_level("INFO")
    runner = ProcessRunner(sandbox=Sandbox(layers=BARE, forks=False))
    try:
        await runner.open()
        assert runner.isolation == "process"
        assert runner.attestation.level == "process"
        version = code(FUNCTION, "spawned", hooks={"pipes": False, "pipe": True})
        (told,) = (await call(runner, version, "pipes")).value
        assert told["name"] == platform
        assert (await said(runner, version))[0] == ["one ", "two ", "three"]
        await killed_in_a_stream(runner, version, int(told["id"]))
        assert (await call(runner, version, "pipes")).value[0]["id"] != told["id"]
    finally:
        await runner.close()
    assert "'attestation'" not in caplog.text
    assert "attestation was refused" not in caplog.text


async def killed_in_a_stream(runner, version, pid):
    worker = await runner.prepare(version)
    stream = runner.stream(worker, task("pipe", {"wait": True}))
    items = []
    with pytest.raises(WorkerDied, match="SIGKILL"):
        async for batch in stream:
            items += batch
            if len(items) == 3:
                os.kill(pid, signal.SIGKILL)
    await stream.aclose()
    worker.release()
    assert await until(lambda: runner.state("spawned")["workers"] == [])
