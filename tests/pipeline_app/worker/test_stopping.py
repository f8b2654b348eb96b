"""Calls end when their caller goes: tasks, generators, threads, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from pipeline_app.worker.calls import Call
from pipeline_app.worker.errors import HookError

from .helpers import loaded, value


async def until(condition):
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


ENDLESS = """
    import asyncio, time
    log = []
    class Filter:
        async def inlet(self, body):
            log.append("began")
            try:
                await asyncio.sleep(100)
            finally:
                log.append("ended")
        def outlet(self, body):
            log.append("began")
            n = 0
            try:
                while True:
                    n += 1
            finally:
                log.append("ended")
        def request(self, body):
            log.append("began")
            while True:
                try:
                    while True:
                        time.sleep(0.001)
                except BaseException as exc:
                    log.append(type(exc).__name__)
                    if log.count("Interrupted") > 2:
                        return {}
        def stream(self, event):
            n = 0
            for i in range(20000):
                n += i
            return {"n": n}
"""


@pytest.mark.parametrize("hook", ["inlet", "outlet", "request"])
def test_a_cancelled_caller_ends_the_hook(hook):
    function = loaded(ENDLESS)
    log = function.module.log

    async def story():
        call = Call(function, hook, {})
        task = asyncio.create_task(call.value())
        assert await until(lambda: "began" in log)
        assert not call.ended
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await call.wait_ended(10)

    asyncio.run(story())
    assert log[-1] == ("Interrupted" if hook == "request" else "ended")
    value(function, "stream", [{}] * 20)  # what comes next on the thread is left alone


@pytest.mark.parametrize("hook", ["inlet", "outlet"])
def test_an_interrupted_call_tells_who_waits_why(hook):
    function = loaded(ENDLESS)

    async def story():
        call = Call(function, hook, {})
        task = asyncio.create_task(call.value())
        assert await until(lambda: "began" in function.module.log)
        call.interrupt("inlet took longer than 1 s.")
        await task

    with pytest.raises(HookError) as caught:
        asyncio.run(story())
    assert (caught.value.data["type"], caught.value.data["message"]) == ("Interrupted", "inlet took longer than 1 s.")


def test_a_call_interrupted_before_it_begins_never_runs():
    function = loaded(ENDLESS)

    async def story(hook):
        call = Call(function, hook, {})
        call.interrupt()
        await call.value()

    for hook in ("inlet", "outlet"):
        with pytest.raises(HookError, match=r"^The call was stopped\.$"):
            asyncio.run(story(hook))
    assert function.module.log == []


def test_a_call_cancelled_before_its_first_step_ends():
    function = loaded(ENDLESS)

    async def story(hook):
        call = Call(function, hook, {})
        task = asyncio.create_task(call.value())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await call.wait_ended(10)

    for hook in ("inlet", "outlet"):
        asyncio.run(story(hook))


def test_interruptions_never_reach_the_next_call_on_the_thread():
    function = loaded("""
        import time
        class Filter:
            def inlet(self, body):
                end = time.perf_counter() + body["s"]
                while time.perf_counter() < end:
                    pass
                return {"n": body["n"]}
            def outlet(self, body):
                return {"sum": sum(range(300)), "n": body["n"]}
    """)

    async def story():
        wrong = stopped = 0
        for n in range(300):
            call = Call(function, "inlet", {"n": n, "s": 0.0005 if n % 15 else 0.05})
            task = asyncio.create_task(call.value())
            await asyncio.sleep(0.0002 + (n % 40) * 0.00002)
            call.interrupt()
            following = [Call(function, "outlet", {"n": n}).value() for _ in range(2)]
            for answer in await asyncio.gather(*following, return_exceptions=True):
                wrong += answer != {"sum": 44850, "n": n}
            try:
                await task
            except HookError:
                stopped += 1
            assert await call.wait_ended(10)
        return wrong, stopped

    wrong, stopped = asyncio.run(story())
    assert wrong == 0
    assert stopped > 0


GENERATORS = """
    import asyncio, time
    log = []
    class Pipe:
        def pipe(self, body):
            return getattr(self, body["how"])()
        def sync(self):
            try:
                n = 0
                while True:
                    n += 1
                    log.append(n)
                    yield str(n)
            finally:
                log.append("closed")
        async def asynchronous(self):
            try:
                n = 0
                while True:
                    n += 1
                    log.append(n)
                    yield str(n)
            finally:
                await asyncio.sleep(0)
                log.append("closed")
        async def sleeping(self):
            try:
                yield "one"
                await asyncio.sleep(100)
            finally:
                log.append("closed")
        def busy(self):
            try:
                yield "one"
                while True:
                    log.append(1)
            finally:
                log.append("closed")
        def slow(self):
            try:
                while True:
                    time.sleep(0.01)
                    yield "x"
            finally:
                log.append("closed")
"""


@pytest.mark.parametrize("how", ["sync", "asynchronous", "sleeping", "busy", "slow"])
def test_a_generator_is_closed_when_the_consumer_goes(how):
    function = loaded(GENERATORS)
    log = function.module.log

    async def story():
        call = Call(function, "pipe", {"how": how})
        said = call.items()
        batch = await anext(said)
        await asyncio.sleep(0.03)
        await said.aclose()
        assert await call.wait_ended(10)
        return batch

    assert asyncio.run(story())[0] in ("1", "one", "x")
    assert log[-1] == "closed"
    if how in ("sync", "asynchronous"):
        assert len(log) < 200  # it waited for its consumer


@pytest.mark.parametrize("how", ["sync", "asynchronous", "busy"])
def test_a_cancelled_consumer_closes_the_generator(how):
    function = loaded(GENERATORS)

    async def consume(call):
        async for _ in call.items():
            await asyncio.sleep(0.001)

    async def story():
        call = Call(function, "pipe", {"how": how})
        task = asyncio.create_task(consume(call))
        assert await until(lambda: function.module.log)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await call.wait_ended(10)

    asyncio.run(story())
    assert function.module.log[-1] == "closed"


def test_an_interrupted_stream_ends_with_the_reason():
    function = loaded(GENERATORS)

    async def story():
        call = Call(function, "pipe", {"how": "sleeping"})
        said = []
        with pytest.raises(HookError) as caught:
            async for batch in call.items():
                said += batch
                call.interrupt("pipe took longer than 300 s.")
        return said, caught.value.data["message"]

    assert asyncio.run(story()) == (["one"], "pipe took longer than 300 s.")


def test_a_slow_consumer_holds_the_producer_back_and_gets_everything():
    function = loaded("""
        class Pipe:
            def pipe(self, body):
                return (str(n) + "," for n in range(3000))
    """)

    async def story():
        said = []
        async for batch in Call(function, "pipe", {}).items():
            assert len(batch) <= 65
            said += batch
            await asyncio.sleep(0)
        return "".join(said)

    assert asyncio.run(story()) == "".join(f"{n}," for n in range(3000))


def test_finished_calls_leave_no_cycles():
    function = loaded(
        "class Filter:\n    async def inlet(self, body, __user__, __event_emitter__): return body\n    def outlet(self, body, __event_call__, __metadata__): return body"
    )

    async def story():
        for hook in ("inlet", "outlet"):
            await Call(function, hook, {}, {"user": {}}).value()
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                for hook in ("inlet", "outlet"):
                    await Call(function, hook, {}, {"user": {}}).value()
            await asyncio.sleep(0.05)
            left = [thing for thing in gc.get_objects() if isinstance(thing, Call)]
            return len(left)
        finally:
            gc.enable()

    assert asyncio.run(story()) <= 1


def test_a_loop_that_closes_leaves_threads_to_end_by_themselves():
    function = loaded(
        "import time\ndone = []\nclass Filter:\n    def inlet(self, body):\n        time.sleep(0.1)\n        done.append(1)"
    )

    async def story():
        task = asyncio.create_task(Call(function, "inlet", {}).value())
        await asyncio.sleep(0.02)
        task.cancel()

    asyncio.run(story())
    time.sleep(0.2)
    assert value(function, "inlet", {}) == {}


def test_a_coroutine_that_a_sync_hook_returned_too_late_is_closed():
    function = loaded("""
        import time
        log = []
        class Filter:
            async def later(self, body): log.append("ran")
            def inlet(self, body):
                log.append("began")
                end = time.monotonic() + 5
                try:
                    while time.monotonic() < end:
                        time.sleep(0.001)
                except BaseException:
                    return self.later(body)
    """)
    log = function.module.log

    async def story():
        call = Call(function, "inlet", {})
        task = asyncio.create_task(call.value())
        assert await until(lambda: log)
        call.interrupt("Enough.")
        with pytest.raises(HookError, match=r"^Enough\.$"):
            await task
        assert await call.wait_ended(10)

    asyncio.run(story())
    gc.collect()
    assert log == ["began"]
