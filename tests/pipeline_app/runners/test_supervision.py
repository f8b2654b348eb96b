"""Zygotes that die, stop or cannot be had at the wrong moment: nobody waits for ever, and nothing is left open."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import select
import signal
import sys

import pytest

from pipeline_app.runners import supervision
from pipeline_app.runners import zygote as zygotes
from pipeline_app.runners.layers import Layers, readable
from pipeline_app.runners.scratch import Scratch
from pipeline_app.runners.supervision import Supervisor
from pipeline_app.runners.zygote import NotStarted, Zygote
from tests.pipeline_app.runners.talk import CONFIG, Talk, run, zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="zygotes are for Linux")


@contextlib.asynccontextmanager
async def supervised(before=lambda: None):
    """A supervisor with a zygote, and everything gone afterwards. ``before`` is called before each one is made."""
    scratch = Scratch()

    def make(on_end):
        before()
        return Zygote(scratch, layers=Layers(bubblewrap=False), readable=readable(), preload=(), on_end=on_end)

    supervisor = Supervisor(make)
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.close()
        scratch.close()


@contextlib.contextmanager
def few_descriptors(count):
    """Lets this process open hardly any more than so many descriptors."""
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_zygote_that_dies_right_after_its_first_word_has_not_started(monkeypatch):
    """Taken for alive, it would never be missed: each start of a worker would find its socket closed."""
    take = Zygote._take

    def die(self, message):
        take(self, message)
        if "up" in message:
            os.kill(message["up"]["pid"], signal.SIGKILL)
            assert select.select([self._control], [], [], 20)[0]  # its end is there to be read in the same turn

    monkeypatch.setattr(Zygote, "_take", die)

    async def story():
        with pytest.raises(NotStarted, match="ended as soon as it had started"):
            async with zygote():
                pass

    run(story)


@pytest.mark.parametrize("trouble", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("can't start thread")])
def test_a_start_that_fails_for_any_reason_is_tried_again(monkeypatch, trouble):
    monkeypatch.setattr(supervision, "PAUSES", (0.0,))
    attempts = []

    def before():
        attempts.append(True)
        if len(attempts) == 2:
            raise trouble

    async def story():
        async with supervised(before) as supervisor:
            os.kill(supervisor.pid, signal.SIGKILL)
            (await supervisor.fork(CONFIG)).close()
            assert len(attempts) == 3

    run(story)


def test_a_zygote_that_does_not_answer_is_replaced_and_no_start_is_lost(monkeypatch):
    async def story():
        async with supervised() as supervisor:
            talk = Talk(await supervisor.fork(CONFIG))
            stopped = supervisor.pid
            os.kill(stopped, signal.SIGSTOP)
            with monkeypatch.context() as patch:
                patch.setattr(zygotes, "FORK_SECONDS", 1.0)
                starts = [asyncio.create_task(supervisor.fork(CONFIG)) for _ in range(3)]
                await asyncio.sleep(0.1)  # the starts at the next zygote have the usual time
            for forked in await asyncio.gather(*starts):
                forked.close()
            assert supervisor.pid not in (0, stopped)
            await talk.load("class Pipe:\n    async def pipe(self):\n        return 'x'\n")  # its workers live on
            talk.close()

    run(story)


def test_starts_under_way_end_with_their_zygote():
    async def story():
        async with zygote() as made:
            os.kill(made.pid, signal.SIGSTOP)
            start = asyncio.create_task(made.fork(CONFIG))
            await asyncio.sleep(0.05)
            closing = asyncio.create_task(made.close())
            with pytest.raises(zygotes.ZygoteGone):
                await start
            await closing

    run(story)


@pytest.mark.parametrize("count", range(0, 12, 2))
def test_a_server_without_descriptors_starts_no_worker_and_then_one_again(count):
    async def story():
        config = {**CONFIG, "network": "brokered"}
        async with zygote() as made:
            with few_descriptors(count):
                for _ in range(3):
                    try:
                        forked = await made.fork(config)
                    except NotStarted:
                        continue
                    assert forked.notifications is not None
                    forked.kill()
                    forked.close()
            (await made.fork(config)).close()
            while len(list(made._scratch.path.glob("w*-*"))) > 1 or len(made.workers) > 1:
                await asyncio.sleep(0.01)

    run(story)


def test_a_server_without_descriptors_says_so_where_it_needs_a_zygote():
    async def story():
        scratch = Scratch()
        for count in range(3):
            made = Zygote(scratch, layers=Layers(bubblewrap=False), preload=())
            await asyncio.to_thread(int)  # the thread that it is started in is there
            with few_descriptors(count), pytest.raises(NotStarted, match=r"cannot be started: .*Too many open files"):
                await made.start()
        scratch.close()

    run(story)


def test_a_worker_is_ended_that_has_gone_with_its_zygote_before_anybody_looked():
    async def story():
        async with zygote() as made:
            forked = await made.fork(CONFIG)
            pidfd = os.pidfd_open(forked.pid)
            os.kill(forked.pid, signal.SIGKILL)
            os.kill(made.pid, signal.SIGKILL)
            assert select.select([pidfd], [], [], 20)[0]
            os.close(pidfd)
            assert select.select([made._control], [], [], 20)[0]
            forked.kill()
            ends = []
            forked.on_exit = ends.append
            async with asyncio.timeout(20):
                while not ends:
                    await asyncio.sleep(0.01)
            forked.close()

    run(story)
