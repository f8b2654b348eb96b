"""Workers that start, end and are given up at the wrong moment: none is lost sight of, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading

import pytest

from pipeline_app.errors import FunctionError, FunctionUnavailable
from pipeline_app.runners import watch
from pipeline_app.runners.workers import RunningWorker

from .conftest import call, code, until

GOOD = "class Filter:\n    async def inlet(self, body):\n        return {'ok': True}"


def workers(runner, function_id):
    return runner.state(function_id)["workers"]


SLOW_TO_LOAD = """
import time
time.sleep(0.5)
class Filter:
    async def inlet(self, body):
        return body
"""


async def test_two_policies_of_one_version_do_not_end_each_others_starts_for_ever(process_runner, monkeypatch):
    """Each request brings the policy of its own snapshot; a change may fall between two of them."""
    opened, started = RunningWorker.open, []

    async def count(worker):
        started.append(worker)
        await opened(worker)

    before = code(SLOW_TO_LOAD, "twofold")
    after = code(SLOW_TO_LOAD, "twofold", output_mb=8)
    assert before.key == after.key
    await call(process_runner, code(GOOD, "first"), "inlet")  # the sandbox is open
    monkeypatch.setattr(RunningWorker, "open", count)
    starts = [asyncio.create_task(call(process_runner, before, "inlet", {"n": 1}))]
    await asyncio.sleep(0.1)
    starts.append(asyncio.create_task(call(process_runner, after, "inlet", {"n": 2})))
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*starts)
    assert [outcome.value for outcome in outcomes] == [{"n": 1}, {"n": 2}]
    assert len(started) == 2
    assert await until(lambda: len(workers(process_runner, "twofold")) == 1, 30)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_worker_that_nobody_came_to_know_is_ended(process_runner, monkeypatch, how):
    opening, opened = asyncio.Event(), RunningWorker.open
    made = []

    async def slowly(worker):
        await opened(worker)
        made.append(worker)
        if how == "failed":
            raise OSError(24, "Too many open files")
        here.call_soon_threadsafe(opening.set)
        await asyncio.sleep(60)

    here = asyncio.get_running_loop()
    monkeypatch.setattr(RunningWorker, "open", slowly)
    check = asyncio.create_task(process_runner.check(code(GOOD, "unknown")))
    if how == "cancelled":
        await opening.wait()
        check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await check
    else:
        with pytest.raises(FunctionUnavailable, match=r"cannot be reached: .*Too many open files"):
            await check
    assert await until(lambda: made[0].gone.done(), 30)


async def test_a_worker_that_ends_while_it_is_opened_is_none_of_the_pools(process_runner, monkeypatch):
    opened, made = RunningWorker.open, []

    async def die(worker):
        await opened(worker)
        made.append(worker)
        os.kill(worker.pid, signal.SIGKILL)
        while worker.exit is None:
            await asyncio.sleep(0.01)

    monkeypatch.setattr(RunningWorker, "open", die)
    with pytest.raises(FunctionUnavailable, match="ended its process"):
        await process_runner.prepare(code(GOOD, "shortlived"))
    assert made[0] not in process_runner.inner._pool._workers
    assert workers(process_runner, "shortlived") == []


def nested(depth):
    made = []
    for _ in range(depth):
        made = [made]
    return made


async def test_a_call_that_cannot_be_sent_leaves_nothing_behind(process_runner):
    """Its worker would never be idle again, and its place would be given back twice."""
    version = code(GOOD, "unsent")
    with pytest.raises(FunctionError, match="What it is called with is nested too deeply") as caught:
        await call(process_runner, version, "inlet", {"x": nested(5000)})
    assert caught.value.status == 400
    assert (await call(process_runner, version, "inlet", {"x": nested(20)})).value == {"ok": True}
    assert [worker["calls"] for worker in workers(process_runner, "unsent")] == [0]
    process_runner.forget("unsent")
    assert await until(lambda: not workers(process_runner, "unsent"), 30)
    gate = process_runner.inner._gates.of("unsent")
    assert (gate._running, gate._sync) == (0, 0)


ASKS = """
class Filter:
    async def inlet(self, body, __event_call__):
        return {"answer": str(await __event_call__({"type": "input", "data": {}}))[:200]}
"""


async def test_an_answer_that_cannot_be_sent_holds_up_no_function(process_runner):
    async def ask(question):
        return nested(5000)

    answered = call(process_runner, code(ASKS, "asks"), "inlet", ask=ask, time_limit=300.0)
    async with asyncio.timeout(60):
        with pytest.raises(FunctionError, match="nested too deeply to be sent"):
            await answered


async def test_what_is_used_is_measured_again_after_a_look_that_failed(process_runner, monkeypatch):
    """A server that had no descriptor left for a moment would let workers use what they like from then on."""
    failed = threading.Event()

    def fail(pid, folder):
        failed.set()
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watch, "taken", fail)
    version = code(GOOD, "measured", disk_mb=1)
    await call(process_runner, version, "inlet")
    assert await asyncio.to_thread(failed.wait, 30)
    monkeypatch.setattr(watch, "taken", lambda pid, folder: 5 * 2**20)
    pid = workers(process_runner, "measured")[0]["pid"]

    async def used():
        with contextlib.suppress(FunctionError):  # it is ended for what it uses
            await call(process_runner, version, "inlet")  # only who runs is looked at
        return [worker["pid"] for worker in workers(process_runner, "measured")] != [pid]

    async with asyncio.timeout(60):
        while not await used():
            await asyncio.sleep(0.1)
