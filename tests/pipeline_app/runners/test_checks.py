"""Sources that are read and loaded aside, under both runners."""

from __future__ import annotations

import asyncio

import pytest

from pipeline_app.errors import Busy
from pipeline_app.runners.admission import Checks
from tests.pipeline_app.runners.conftest import code

GOOD = "class Pipe:\n    def pipe(self, body):\n        return 'hi'\n"


async def test_a_source_is_read_and_then_loaded(runner):
    found = await runner.check(code(GOOD))
    assert (found.reading["kind"], found.look["manifest"]["kind"], found.error, found.crash) == (
        "pipe",
        "pipe",
        None,
        "",
    )


async def test_what_does_not_load_has_been_read(runner):
    found = await runner.check(code(GOOD + "\nimport json\n1 / 0\n"))
    assert [one["code"] for one in found.reading["findings"]] == ["unused-import"]
    assert (found.look, found.error["type"], found.error["line"]) == (None, "ZeroDivisionError", 6)


async def test_what_cannot_be_read_is_not_loaded(runner):
    found = await runner.check(code("class Pipe\n"))
    assert (found.reading["parsed"], found.look, found.error) == (False, None, None)
    found = await runner.check(code("1 / 0\n"))
    assert (found.reading["parsed"], found.look, found.error) == (True, None, None)


async def test_a_check_leaves_the_workers_of_its_function_alone(process_runner):
    live = code(GOOD)
    worker = await process_runner.prepare(live)
    before = process_runner.state("sample")["workers"]
    await process_runner.check(code(GOOD, epoch="check"))
    await process_runner.check(code(GOOD + "\nimport os\nos._exit(1)\n", epoch="check"))
    after = process_runner.state("sample")
    assert [one["pid"] for one in after["workers"]] == [one["pid"] for one in before]
    assert after["breaker"] is None
    worker.release()


async def test_a_check_that_is_given_up_leaves_no_process(process_runner):
    inner = process_runner.inner
    endless = asyncio.create_task(process_runner.check(code(GOOD + "\nwhile True: pass\n", "endless", epoch="check")))
    while not any(worker.is_aside for worker in inner._pool._workers):
        await asyncio.sleep(0.01)
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
    while any(worker.is_aside for worker in inner._pool._workers):
        await asyncio.sleep(0.01)


async def test_so_many_checks_are_made_at_a_time_and_as_many_wait():
    checks, asked = Checks(), code(GOOD)
    held = asyncio.Event()
    inside = []

    async def check():
        async with checks.place(asked):
            inside.append(1)
            await held.wait()

    tasks = [asyncio.create_task(check()) for _ in range(Checks.AT_A_TIME * 2)]
    await asyncio.sleep(0)
    assert len(inside) == Checks.AT_A_TIME
    with pytest.raises(Busy) as caught:
        await check()
    assert caught.value.message == "The server makes 4 checks at a time and has as many now; try again."
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "10"})
    held.set()
    await asyncio.gather(*tasks)
    assert len(inside) == Checks.AT_A_TIME * 2
