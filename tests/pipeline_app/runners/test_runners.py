"""What a runner promises, whichever it is."""

from __future__ import annotations

import asyncio
import time

import pytest

from functions_app.runtime import InvalidValves, LoadError
from pipeline_app.errors import Busy, FunctionError, FunctionUnavailable, SandboxLimit
from pipeline_app.worker.answers import Event, Whole

from .conftest import call, code, said, task, until

FILTER = """
    import logging
    class Filter:
        def __init__(self):
            self.seen = 0
        async def inlet(self, body, __metadata__, __user__=None):
            __metadata__["mark"] = 1
            self.seen += 1
            body["seen"] = self.seen
            print("in", body["seen"])
            logging.getLogger("author").warning("careful")
            return body
        def outlet(self, body):
            body["seen"] = self.seen
        def request(self, body):
            raise ValueError("not this one")
        def stream(self, event):
            if event["n"] == 1: return None
            event["seen"] = True
            return event
"""


async def test_a_hook_answers_with_its_value_metadata_and_output(runner):
    version = code(FILTER)
    outcome = await call(runner, version, "inlet", {"messages": []}, context={"metadata": {"chat_id": "c"}})
    assert outcome.value == {"messages": [], "seen": 1}
    assert outcome.metadata == {"chat_id": "c", "mark": 1}
    assert outcome.output == [
        {"stream": "stdout", "text": "in 1"},
        {"level": "WARNING", "text": "careful"},
    ]
    assert 0 < outcome.wall < 5
    assert (outcome.queue, outcome.exit) == (0.0, None)


async def test_what_inlet_leaves_on_self_is_there_in_outlet(runner):
    version = code(FILTER, "kept")
    worker = await runner.prepare(version)
    await runner.call(worker, task("inlet", context={"metadata": {}}))
    outcome = await runner.call(worker, task("outlet"))
    worker.release()
    assert outcome.value == {"seen": 1}
    assert outcome.cpu > 0


async def test_a_batch_of_events_is_answered_by_a_batch(runner):
    outcome = await call(runner, code(FILTER), "stream", [{"n": n} for n in range(3)])
    assert outcome.value == [{"n": 0, "seen": True}, None, {"n": 2, "seen": True}]


async def test_a_failure_has_the_authors_line_and_traceback(runner):
    with pytest.raises(FunctionError) as caught:
        await call(runner, code(FILTER), "request", {})
    error = caught.value
    assert (error.status, error.code) == (500, "function_failed")
    assert error.message == "not this one (ValueError in function 'sample', request, line 15)"
    assert error.data["traceback"].endswith("ValueError: not this one\n")
    assert "pipeline_app" not in error.data["traceback"]
    assert error.outcome.wall > 0


async def test_a_source_that_does_not_load_says_why(runner):
    version = code("import nowhere_to_be_found\n\nclass Pipe: pass", "broken")
    with pytest.raises(FunctionUnavailable) as caught:
        await runner.prepare(version)
    assert (caught.value.status, caught.value.code) == (503, "function_unavailable")
    assert caught.value.message == (
        "Function 'broken' can't be run: ModuleNotFoundError: No module named 'nowhere_to_be_found' (line 1)"
    )
    with pytest.raises(LoadError) as told:
        await runner.inspect(version)
    assert told.value.error["line"] == 1
    assert set(told.value.error) == {"type", "message", "line", "traceback"}


async def test_loading_has_a_limit(runner):
    version = code("while True: pass\nclass Pipe: pass", "endless", time_limit={"load": 0.3})
    with pytest.raises(LoadError) as caught:
        await runner.inspect(version)
    assert caught.value.error["type"] == "TimeLimit"
    assert caught.value.error["message"] == (
        "It took longer than 0.3 s and was stopped. Move slow work out of the module and of __init__."
    )


VALVES = """
    from pydantic import BaseModel, Field
    class Pipe:
        class Valves(BaseModel):
            number: int = Field(default=1, ge=0)
            choice: str = Field(default="a", json_schema_extra={"input": {"type": "select", "options": "choices"}})
            @classmethod
            def choices(cls): return ["a", "b"]
        def __init__(self): self.valves = self.Valves()
        def pipe(self, body): return str(self.valves.number)
"""


async def test_a_version_is_inspected_and_its_valves_are_checked(runner):
    version = code(VALVES)
    manifest = await runner.inspect(version)
    assert (manifest["kind"], list(manifest["hooks"])) == ("pipe", ["pipe"])
    assert await runner.validate(version, "valves", {"number": "3", "choice": None}) == {"number": 3}
    with pytest.raises(InvalidValves) as caught:
        await runner.validate(version, "valves", {"number": -1})
    assert caught.value.errors[0]["loc"] == ["number"]
    schema = await runner.options(version, "valves", None)
    assert schema["properties"]["choice"]["input"]["options"] == ["a", "b"]
    assert await runner.options(version, "user_valves", None) is None


async def test_choices_that_hang_are_ended_with_a_way_out(runner):
    slow = VALVES.replace('return ["a", "b"]', "\n                while True: pass")
    version = code(slow, "undecided", time_limit={"options": 0.3})
    with pytest.raises(LoadError) as caught:
        await runner.options(version, "valves", None)
    assert caught.value.error["message"] == (
        "It took longer than 0.3 s and was stopped. "
        "Make the method that offers the choices of its valves quicker, or let it keep what it found."
    )


async def test_valves_are_each_calls_own(runner):
    version = code(VALVES)
    answers = await asyncio.gather(*(said(runner, version, valves={"number": n}) for n in range(8)))
    assert ["".join(items) for items, _ in answers] == [str(n) for n in range(8)]


ANSWERS = """
    import asyncio, time
    from starlette.responses import JSONResponse
    class Pipe:
        async def pipe(self, body, __event_emitter__):
            if body["how"] == "mixed":
                return self.mixed(__event_emitter__)
            if body["how"] == "whole":
                return JSONResponse({"error": "teapot"}, 418)
            if body["how"] == "fails":
                return self.fails()
            if body["how"] == "sleeps":
                return self.sleeps(body["first"])
        async def mixed(self, emit):
            yield "one"
            await emit({"type": "status", "data": {"n": 1}})
            yield {"choices": [{"delta": {"content": "two"}}]}
            yield "three"
        async def fails(self):
            yield "one"
            raise ValueError("two")
        async def sleeps(self, first):
            if first: yield "first"
            await asyncio.sleep(100)
"""


async def test_items_keep_their_kinds_and_their_order(runner):
    items, outcome = await said(runner, code(ANSWERS), {"how": "mixed"})
    assert items == [
        "one",
        {"type": "status", "data": {"n": 1}},
        {"choices": [{"delta": {"content": "two"}}]},
        "three",
    ]
    assert isinstance(items[1], Event)
    assert outcome.wall > 0
    items, _ = await said(runner, code(ANSWERS), {"how": "whole"})
    assert items == [Whole({"error": "teapot"}, 418, "application/json")]


async def test_a_failure_comes_after_the_items_before_it(runner):
    worker = await runner.prepare(code(ANSWERS))
    stream = runner.stream(worker, task("pipe", {"how": "fails"}))
    items = []
    with pytest.raises(FunctionError, match="two"):
        async for batch in stream:
            items += batch
    await stream.aclose()
    assert items == ["one"]


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (False, "nothing came within 0.2 s (the time limit of its policy)"),
        (True, "it took longer than 0.6 s (the time limit of its policy)"),
    ],
)
async def test_the_first_chunk_and_the_whole_answer_have_limits(runner, first, sentence):
    began = time.perf_counter()
    with pytest.raises(SandboxLimit) as caught:
        await said(runner, code(ANSWERS), {"how": "sleeps", "first": first}, first_limit=0.2, time_limit=0.6)
    line = caught.value.data["line"]
    assert "await asyncio.sleep" in ANSWERS.lstrip("\n").splitlines()[line - 1]
    assert caught.value.message == f"Function 'sample' was stopped in pipe, line {line}: {sentence}"
    assert (caught.value.status, caught.value.code) == (504, "time_limit")
    assert time.perf_counter() - began < 2


async def test_events_of_a_value_hook_come_in_order_before_its_answer(runner):
    version = code("""
        class Action:
            async def action(self, body, __event_emitter__):
                for n in range(100):
                    await __event_emitter__({"type": "status", "data": {"n": n}})
                return {"done": True}
    """)
    events = []
    outcome = await call(runner, version, "action", {}, on_event=events.append)
    assert outcome.value == {"done": True}
    assert [event["data"]["n"] for event in events] == list(range(100))


async def test_the_client_is_asked_and_the_time_for_it_does_not_count(runner):
    version = code("""
        class Action:
            async def action(self, body, __event_call__):
                return await __event_call__({"type": "input", "data": {"title": "Name?"}})
    """)

    async def ask(question):
        await asyncio.sleep(0.6)
        return {"asked": question["data"]["title"]}

    assert (await call(runner, version, "action", {}, ask=ask, time_limit=0.3)).value == {"asked": "Name?"}
    assert (await call(runner, version, "action", {})).value == {"error": "Client session disconnected."}


STUBBORN = """
    import asyncio, time
    log = []
    class Filter:
        async def inlet(self, body):
            log.append("began")
            try:
                await asyncio.sleep(100)
            finally:
                log.append("ended")
        def request(self, body):
            log.append("began")
            n = 0
            try:
                while True:
                    n += 1
            finally:
                log.append("ended")
        def outlet(self, body):
            return {"log": list(log)}
"""


@pytest.mark.parametrize("hook", ["inlet", "request"])
async def test_a_limit_stops_the_function_and_its_worker_serves_on(runner, hook):
    version = code(STUBBORN, f"stubborn_{hook}")
    with pytest.raises(SandboxLimit, match=r"it took longer than 0\.3 s"):
        await call(runner, version, hook, time_limit=0.3)
    assert (await call(runner, version, "outlet")).value["log"] == ["began", "ended"]


@pytest.mark.parametrize("hook", ["inlet", "request"])
async def test_a_cancelled_caller_stops_the_function(runner, hook):
    version = code(STUBBORN, f"left_{hook}")
    worker = await runner.prepare(version)
    calling = asyncio.create_task(runner.call(worker, task(hook)))
    await asyncio.sleep(0.2)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling

    async def log():
        return (await runner.call(worker, task("outlet"))).value["log"]

    for _ in range(100):
        if await log() == ["began", "ended"]:
            break
        await asyncio.sleep(0.02)
    assert await log() == ["began", "ended"]
    worker.release()


async def test_a_call_is_cancelled_by_its_id(runner):
    version = code(STUBBORN, "cancelled")
    worker = await runner.prepare(version)
    job = task("inlet")
    calling = asyncio.create_task(runner.call(worker, job))
    await asyncio.sleep(0.2)
    assert await runner.cancel(job.id)
    with pytest.raises(FunctionError, match=r"The call was stopped\."):
        await calling
    assert not await runner.cancel(job.id)
    assert (await runner.call(worker, task("outlet"))).value["log"] == ["began", "ended"]
    worker.release()


async def test_a_closed_stream_closes_the_generator(runner):
    version = code("""
        import asyncio
        log = []
        class Pipe:
            async def pipe(self, body):
                if body.get("log"): yield ",".join(log); return
                try:
                    n = 0
                    while True:
                        n += 1
                        yield str(n)
                        await asyncio.sleep(0)
                finally:
                    log.append("closed")
    """)
    worker = await runner.prepare(version)
    stream = runner.stream(worker, task("pipe"))
    async for _ in stream:
        break
    await stream.aclose()
    assert (await said(runner, version, {"log": True}))[0] == ["closed"]
    worker.release()


async def test_a_slow_consumer_holds_the_producer_back_and_gets_everything(runner):
    version = code("""
        made = 0
        class Pipe:
            def pipe(self, body):
                return str(made) if body.get("made") else self.texts()
            def texts(self):
                global made
                for made in range(3000):
                    yield f"{made}," + "x" * 1000
    """)
    worker = await runner.prepare(version)
    stream = runner.stream(worker, task("pipe"))
    text = ""
    looked = False
    async for batch in stream:
        text += "".join(batch)
        if not looked:
            looked = True
            await asyncio.sleep(0.3)
            assert int((await said(runner, version, {"made": True}))[0][0]) < 2500
    await stream.aclose()
    worker.release()
    assert text.replace("x" * 1000, "") == "".join(f"{n}," for n in range(3000))


async def test_an_answer_beyond_the_limit_is_refused(runner):
    version = code("class Filter:\n    def inlet(self, body):\n        body['x'] = 'a' * 3000000", output_mb=1)
    with pytest.raises(FunctionError) as caught:
        await call(runner, version, "inlet")
    assert caught.value.data["message"] == "sample returned more than the limit of 1 MB (output_mb)."


WAITING = """
    import asyncio, time
    class Filter:
        async def inlet(self, body):
            await asyncio.sleep(body["s"])
        def outlet(self, body):
            time.sleep(body["s"])
"""


async def test_calls_beyond_the_policy_wait_for_a_place(runner):
    version = code(WAITING, "narrow", hooks={"inlet": True}, concurrency=2)
    outcomes = await asyncio.gather(*(call(runner, version, "inlet", {"s": 0.2}) for _ in range(4)))
    queues = sorted(outcome.queue for outcome in outcomes)
    assert queues[1] == 0.0
    assert queues[2] > 0.1
    assert max(outcome.wall for outcome in outcomes) < 0.39


async def test_calls_beyond_the_queue_are_refused(runner):
    version = code(WAITING, "crowded", hooks={"inlet": True}, concurrency=2)
    worker = await runner.prepare(version)
    calls = [asyncio.create_task(runner.call(worker, task("inlet", {"s": 0.3}))) for _ in range(4)]
    await asyncio.sleep(0.05)
    with pytest.raises(Busy) as caught:
        await runner.call(worker, task("inlet", {"s": 0}))
    assert (caught.value.status, caught.value.code) == (429, "function_busy")
    assert caught.value.headers == {"Retry-After": "10"}
    assert caught.value.message == (
        "Function 'crowded' is busy: 2 calls of it run, the most that its policy allows (concurrency), and as many wait."
    )
    await asyncio.gather(*calls)
    worker.release()


async def test_a_policy_may_want_more_isolation_than_there_is(runner):
    version = code("class Pipe: pass", min_isolation="strict")
    inner = getattr(runner, "inner", runner)
    if inner.isolation == "strict" or getattr(inner, "_pool", 1) is None:
        await runner.open()
    was, inner.isolation = inner.isolation, "inline" if inner.isolation == "inline" else "basic"
    try:
        with pytest.raises(FunctionUnavailable) as caught:
            await runner.prepare(version)
    finally:
        inner.isolation = was
    assert caught.value.code == "isolation"
    assert "wants the isolation level 'strict' (min_isolation) and this server gives" in caught.value.message


async def test_a_forgotten_version_is_loaded_anew(runner):
    version = code(FILTER, "forgotten")
    await call(runner, version, "inlet", context={"metadata": {}})
    assert (await call(runner, version, "outlet")).value == {"seen": 1}
    runner.forget("forgotten")
    assert await until(lambda: not runner.state("forgotten")["workers"])
    assert (await call(runner, version, "outlet")).value == {"seen": 0}
