"""What only a process can promise: limits that hold, deaths that hurt nobody else, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace

import pytest

from functions_app.runtime import LoadError
from pipeline_app.errors import FunctionUnavailable, SandboxLimit, WorkerDied
from pipeline_app.runners import destinations, sandbox
from pipeline_app.runners.process import ProcessRunner

from .conftest import call, code, said, task, until

GOOD = "class Filter:\n    async def inlet(self, body):\n        return {'ok': True}"


def workers(runner, function_id):
    return runner.state(function_id)["workers"]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


HUNGRY = """
    import ctypes, mmap, os, threading, time
    kept = []
    class Filter:
        async def inlet(self, body):
            return {"ok": True}
        def outlet(self, body):
            area = mmap.mmap(-1, 400 << 20)
            for place in range(0, 400 << 20, 4096):
                area[place] = 1
            time.sleep(30)
        def request(self, body):
            for _ in range(40):
                threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
            time.sleep(30)
        def stream(self, event):
            for n in range(100):
                kept.append(open(f"file{n}", "wb"))
                kept[-1].write(b"x" * (1 << 20))
                kept[-1].flush()
                if event.get("hidden"):
                    os.unlink(f"file{n}")
            time.sleep(30)
        def burn(self):
            while True:
                pass
        def event(self, event):
            threading.Thread(target=self.burn, daemon=True).start()
"""


@pytest.mark.parametrize(
    ("hook", "payload", "rules", "code_", "sentence"),
    [
        ("outlet", {}, {"memory_mb": 256}, "memory_limit", "MB of memory, and memory_mb of its policy is 256"),
        ("request", {}, {"threads": 16}, "threads_limit", "threads, and threads of its policy is 16"),
        ("stream", [{}], {"disk_mb": 50}, "disk_limit", "MB, and disk_mb of its policy is 50"),
        ("stream", [{"hidden": True}], {"disk_mb": 50}, "disk_limit", "MB, and disk_mb of its policy is 50"),
    ],
)
async def test_who_takes_too_much_is_ended_with_the_figure(
    process_runner, monkeypatch, hook, payload, rules, code_, sentence
):
    # What the kernel's own limit of memory lets pass is found by looking.
    told, version = sandbox._config, code(HUNGRY, f"hungry_{code_}_{len(str(payload))}", **rules)
    free = replace(version, policy=replace(version.policy, memory_mb=4096))
    monkeypatch.setattr(sandbox, "_config", lambda code: told(free if code is version else code))
    with pytest.raises(SandboxLimit) as caught:
        await call(process_runner, version, hook, payload, time_limit=8)
    assert (caught.value.code, caught.value.status) == (code_, 502)
    assert sentence in caught.value.message
    assert caught.value.outcome.exit == caught.value.data["message"]
    assert (await call(process_runner, version, "inlet")).value == {"ok": True}


async def test_cpu_time_is_limited_and_others_in_the_worker_are_told_apart(process_runner):
    version = code(
        """
        import asyncio, time
        class Filter:
            def inlet(self, body):
                n = 0
                while True:
                    n += 1
            async def outlet(self, body):
                await asyncio.sleep(30)
        """,
        "greedy",
        cpu_limit=0.5,
    )
    worker = await process_runner.prepare(version)
    greedy = asyncio.create_task(process_runner.call(worker, task("inlet")))
    with pytest.raises(SandboxLimit) as caught:
        await greedy
    assert (caught.value.code, caught.value.status) == ("cpu_limit", 504)
    assert "a call used more than 0.5 s of CPU time (cpu_limit of its policy)" in caught.value.message
    assert caught.value.outcome.cpu > 0.5
    worker.release()


async def test_cpu_time_is_shared_out_among_the_calls_that_ran(process_runner):
    version = code(
        """
        import asyncio, time
        class Filter:
            async def inlet(self, body):
                end = time.process_time() + 0.2
                while time.process_time() < end:
                    await asyncio.sleep(0)
            async def outlet(self, body):
                await asyncio.sleep(0.1)
        """,
        "sharing",
    )
    alone = await call(process_runner, version, "inlet")
    assert 0.15 < alone.cpu < 0.4
    assert (await call(process_runner, version, "outlet")).cpu < 0.05
    both = await asyncio.gather(*(call(process_runner, version, "inlet") for _ in range(2)))
    assert all(0.05 < outcome.cpu < 0.4 for outcome in both)


async def test_who_computes_although_nobody_asked_is_ended(process_runner):
    version = code(HUNGRY, "restless")
    await call(process_runner, version, "event", {})
    pid = workers(process_runner, "restless")[0]["pid"]
    assert await until(lambda: not alive(pid), 6)
    assert (await call(process_runner, version, "inlet")).value == {"ok": True}


CRASHING = """
    import ctypes, os, signal, asyncio
    class Filter:
        async def inlet(self, body):
            if body.get("wait"):
                await asyncio.sleep(body["wait"])
            return {"ok": True}
        def outlet(self, body):
            how = body["how"]
            if how == "fault":
                ctypes.string_at(0)
            elif how == "exit":
                os._exit(3)
            else:
                os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("fault", "it was ended by a segmentation fault"),
        ("exit", "it left by itself with exit status 3"),
        ("kill", "it was ended by SIGKILL, sent from outside or by the system when memory ran out"),
    ],
)
async def test_a_dying_worker_fails_its_own_calls_with_the_reason(process_runner, how, sentence):
    version, other = code(CRASHING, f"crashing_{how}"), code(GOOD, "bystander")
    bystander = await process_runner.prepare(other)
    worker = await process_runner.prepare(version)
    neighbour = asyncio.create_task(process_runner.call(worker, task("inlet", {"wait": 20})))
    await asyncio.sleep(0.05)
    with pytest.raises(WorkerDied) as caught:
        await process_runner.call(worker, task("outlet", {"how": how}))
    assert (caught.value.status, caught.value.code) == (502, "worker_died")
    assert caught.value.message == f"The worker of function 'crashing_{how}' ended during outlet: {sentence}"
    with pytest.raises(WorkerDied):
        await neighbour
    # the request that held it gets a fresh one for its next hook
    assert (await process_runner.call(worker, task("inlet"))).value == {"ok": True}
    assert (await process_runner.call(bystander, task("inlet"))).value == {"ok": True}
    worker.release()
    bystander.release()


async def test_repeated_crashes_open_a_breaker_that_can_be_closed(process_runner):
    version = code(CRASHING, "unstable")
    for _ in range(3):
        with pytest.raises(WorkerDied):
            await call(process_runner, version, "outlet", {"how": "exit"})
    with pytest.raises(FunctionUnavailable) as caught:
        await call(process_runner, version, "inlet")
    error = caught.value
    assert (error.status, error.code) == (503, "function_crashing")
    assert "it crashed again and again, most recently: it left by itself with exit status 3" in error.message
    assert 0 < int(error.headers["Retry-After"]) <= 30
    breaker = process_runner.state("unstable")["breaker"]
    assert breaker["reason"] == "it left by itself with exit status 3"
    assert breaker["until"] - breaker["opened_at"] == 30
    (trip,) = process_runner.inner.trips
    assert (trip.function_id, trip.number, trip.reason) == ("unstable", 1, breaker["reason"])
    # another version, or an admin's restart, begins with a closed one
    assert (await call(process_runner, code(CRASHING, "unstable", epoch="next"), "inlet")).value == {"ok": True}
    process_runner.forget("unstable")
    await asyncio.sleep(0.05)
    assert (await call(process_runner, version, "inlet")).value == {"ok": True}


async def test_a_source_that_ends_its_process_does_not_load(process_runner):
    version = code("import os\nos.abort()\nclass Pipe: pass", "suicidal")
    with pytest.raises(LoadError) as caught:
        await process_runner.inspect(version)
    assert caught.value.error["message"] == "The source ended its process while it was loaded: it was ended by abort()."


STUCK = """
    import asyncio, re, time
    class Filter:
        async def inlet(self, body):
            if body.get("wait"):
                await asyncio.sleep(body["wait"])
            return {"ok": True}
        def outlet(self, body):
            time.sleep(body["s"])  # C code: nothing can interrupt it
        async def request(self, body):
            time.sleep(body["s"])  # holds the loop, and everybody in it
        def stream(self, event):
            re.match(r"(a+)+$", "a" * 40 + "b")  # never lets go of the interpreter
"""


async def test_a_call_that_does_not_stop_retires_its_worker_and_cuts_nobody_off(process_runner):
    version = code(STUCK, "stuck")
    worker = await process_runner.prepare(version)
    neighbour = asyncio.create_task(process_runner.call(worker, task("inlet", {"wait": 2.5})))
    with pytest.raises(SandboxLimit, match=r"it took longer than 0\.2 s"):
        await process_runner.call(worker, task("outlet", {"s": 60}, time_limit=0.2))
    worker.release()
    assert [w["retired"] for w in workers(process_runner, "stuck")] == [True]
    old = workers(process_runner, "stuck")[0]["pid"]
    assert (await call(process_runner, version, "inlet")).value == {"ok": True}
    assert [w["retired"] for w in workers(process_runner, "stuck")] == [True, False]
    assert alive(old)
    assert (await neighbour).value == {"ok": True}
    assert await until(lambda: not alive(old), 3)


@pytest.mark.parametrize(("hook", "payload"), [("request", {"s": 60}), ("stream", [{}])])
async def test_a_worker_whose_loop_does_not_answer_is_ended(process_runner, hook, payload):
    version = code(STUCK, f"dead_{hook}")
    began = time.monotonic()
    with pytest.raises(SandboxLimit, match=r"it took longer than 0\.2 s"):
        await call(process_runner, version, hook, payload, time_limit=0.2)
    assert time.monotonic() - began < 2
    assert await until(lambda: not any(w["retired"] for w in workers(process_runner, f"dead_{hook}")), 4)
    assert (await call(process_runner, version, "inlet")).value == {"ok": True}


async def test_at_most_two_retired_workers_of_a_function_are_left(process_runner):
    version = code(STUCK, "hoarder")
    holders = []
    for _ in range(4):
        worker = await process_runner.prepare(version)
        holders.append((worker, asyncio.create_task(process_runner.call(worker, task("inlet", {"wait": 8})))))
        await asyncio.sleep(0.05)
        with pytest.raises(SandboxLimit):
            await process_runner.call(worker, task("outlet", {"s": 60}, time_limit=0.1))
    assert await until(lambda: sum(w["retired"] for w in workers(process_runner, "hoarder")) == 2, 3)
    with pytest.raises(WorkerDied, match="more calls of its function did not stop than are borne"):
        await holders[0][1]
    for worker, waiting in holders:
        waiting.cancel()
        worker.release()


async def test_a_client_that_leaves_retires_nothing(process_runner):
    version = code(STUCK, "abandoned", concurrency=1)
    worker = await process_runner.prepare(version)
    calling = asyncio.create_task(process_runner.call(worker, task("outlet", {"s": 2.5}, time_limit=6)))
    await asyncio.sleep(0.2)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await asyncio.sleep(1.3)
    assert [(w["retired"], w["calls"]) for w in workers(process_runner, "abandoned")] == [(False, 1)]
    # its place is free when its code has ended
    outcome = await process_runner.call(worker, task("inlet"))
    assert outcome.queue > 0.2
    worker.release()


async def test_the_first_call_of_a_worker_knows_its_memory(process_runner):
    assert (await call(process_runner, code(GOOD, "newcomer"), "inlet")).memory_mb > 1


async def test_a_changed_policy_means_a_new_worker(process_runner):
    await call(process_runner, code(GOOD, "changing"), "inlet")
    first = workers(process_runner, "changing")[0]["pid"]
    await call(process_runner, code(GOOD, "changing", network="none"), "inlet")
    assert await until(lambda: not alive(first), 3)
    assert len(workers(process_runner, "changing")) == 1


async def test_many_who_come_at_once_share_one_start(process_runner):
    version = code(GOOD, "popular")
    outcomes = await asyncio.gather(*(call(process_runner, version, "inlet") for _ in range(50)))
    assert len(outcomes) == 50
    assert len(workers(process_runner, "popular")) == 1


async def test_an_idle_worker_is_ended_and_the_next_call_has_another(process_runner):
    version = code(GOOD, "idle")
    await call(process_runner, version, "inlet")
    pid = workers(process_runner, "idle")[0]["pid"]
    pool = process_runner.inner._pool
    was, pool._idle_seconds = pool._idle_seconds, 0.3
    try:
        assert await until(lambda: not alive(pid), 5)
    finally:
        pool._idle_seconds = was
    assert (await call(process_runner, version, "inlet")).value == {"ok": True}


async def test_the_longest_unused_worker_goes_when_all_together_take_too_much(process_runner):
    for name in ("oldest", "newest"):
        await call(process_runner, code(GOOD, name), "inlet")
        await asyncio.sleep(0.3)
    pool = process_runner.inner._pool
    oldest = workers(process_runner, "oldest")[0]["pid"]
    assert await until(lambda: workers(process_runner, "newest")[0]["memory_mb"] is not None)
    was = pool._memory_mb
    try:
        pool._memory_mb = sum(worker.own_mb for worker in pool._workers) - 0.5
        assert await until(lambda: not alive(oldest), 5)
    finally:
        pool._memory_mb = was


@pytest.mark.parametrize("noticed", ["by its end", "by the next start"])
async def test_the_zygote_may_die_and_no_request_is_lost(process_runner, noticed):
    version = code(CRASHING, "survivor")
    worker = await process_runner.prepare(version)
    going = asyncio.create_task(process_runner.call(worker, task("inlet", {"wait": 1})))
    await asyncio.sleep(0.1)
    zygote = process_runner.inner._sandbox._supervisor._zygote
    if noticed == "by the next start":  # its loop is kept from looking at the zygote's socket until then
        zygote._loop.call_soon_threadsafe(time.sleep, 0.5)
    os.kill(zygote.pid, signal.SIGKILL)
    starts = [asyncio.create_task(call(process_runner, code(GOOD, f"after{n}"), "inlet")) for n in range(3)]
    await asyncio.sleep(0.1)
    fresh = await asyncio.gather(*starts)
    assert [outcome.value for outcome in fresh] == [{"ok": True}] * 3
    assert (await going).value == {"ok": True}
    pid = workers(process_runner, "survivor")[0]["pid"]
    worker.release()
    process_runner.forget("survivor")
    assert await until(lambda: not alive(pid), 3)


async def test_a_hundred_crashes_in_a_row_hurt_nobody_else(process_runner):
    other = await process_runner.prepare(code(GOOD, "calm"))
    for n in range(100):
        version = code(CRASHING, "crasher", epoch=str(n // 2))
        with pytest.raises(WorkerDied):
            await call(process_runner, version, "outlet", {"how": "exit"})
        if n % 10 == 0:
            assert (await process_runner.call(other, task("inlet"))).value == {"ok": True}
    other.release()


async def test_a_worker_in_a_flood_of_output_is_bounded(process_runner):
    version = code(
        """
        class Pipe:
            def pipe(self, body):
                while True:
                    yield "x" * 500000
        """,
        "flooding",
        output_mb=1,
    )
    with pytest.raises(SandboxLimit) as caught:
        await said(process_runner, version)
    assert (caught.value.code, caught.value.status) == ("output_limit", 502)
    assert "its answer is longer than 4 MB in all (4 times output_mb of its policy)" in caught.value.message


async def test_a_question_that_hangs_is_ended(process_runner):
    version = code(
        """
        import time
        from pydantic import BaseModel, field_validator
        class Pipe:
            class Valves(BaseModel):
                a: int = 1
                @field_validator("a")
                @classmethod
                def slow(cls, value): time.sleep(60)
            def __init__(self): self.valves = self.Valves()
        """,
        "slow_valves",
        time_limit={"options": 0.3},
    )
    with pytest.raises(LoadError) as caught:
        await process_runner.validate(version, "valves", {"a": 1})
    assert caught.value.error["type"] == "TimeLimit"


async def test_the_attacks_of_the_attestation_leave_no_trace(base_packages, caplog):
    counted = len(destinations.log._seen)
    with caplog.at_level("INFO"):
        runner = ProcessRunner()
        await runner.open()
        await runner.close()
    assert "Isolation: " in caplog.text
    assert "attestation" not in caplog.text
    assert len(destinations.log._seen) == counted


CURIOUS = """
    import sys
    class Filter:
        def look(self, body):
            frame = sys._getframe()
            while not hasattr(frame.f_locals.get("self"), "_call"):
                frame = frame.f_back
            return {**body, "told": sorted(frame.f_locals["self"]._call.context)}
        async def inlet(self, body):
            return self.look(body)
        def request(self, body, __user__):
            return self.look(body)
        async def outlet(self, body, __features__=None):
            return self.look(body)
"""


async def test_a_worker_is_told_no_more_of_a_request_than_its_hook_asks_for(process_runner):
    version = code(CURIOUS, "curious")
    context = {"id": "curious", "metadata": {"chat_id": "c"}, "user": {"id": "u"}, "request": {}, "features": {}}
    unknown = await call(process_runner, version, "outlet", context=context)
    assert unknown.value["told"] == sorted(context)
    known = replace(version, manifest=await process_runner.inspect(version))
    for hook, told in {
        "inlet": ["id", "metadata"],
        "request": ["id", "metadata", "user"],
        "outlet": ["features", "id"],
    }.items():
        assert (await call(process_runner, known, hook, context=context)).value["told"] == told


async def test_a_client_of_httpx_finds_all_it_needs_loaded(process_runner):
    version = code(
        """
        import sys
        import httpx
        class Filter:
            async def inlet(self, body):
                before = set(sys.modules)
                async with httpx.AsyncClient() as client:
                    try:
                        await client.get("http://127.0.0.1:1/")
                    except httpx.ConnectError:
                        pass
                loaded = {name for name in set(sys.modules) - before if name.split(".")[0] in ("httpcore", "h11", "anyio")}
                return {"loaded": sorted(loaded)}
        """,
        "client",
    )
    outcome = await call(process_runner, version, "inlet")
    assert outcome.value["loaded"] == []
