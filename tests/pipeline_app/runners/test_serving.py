"""What a worker does with what it is asked, in a real process behind every layer that this machine has."""

from __future__ import annotations

import asyncio
import sys

import pytest

from pipeline_app.worker.protocol import WINDOW
from tests.pipeline_app.runners.talk import run, worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="zygotes are for Linux")


def test_a_worker_loads_and_answers_values_and_items():
    async def story():
        source = """
            class Pipe:
                def __init__(self):
                    print("loading")

                def pipes(self):
                    return [{"id": "a", "name": "A"}]

                async def pipe(self, body, __metadata__):
                    print("piping")
                    __metadata__["seen"] = True
                    yield "hello "
                    yield {"choices": []}
        """
        async with worker() as talk:
            done = await talk.load(source)
            assert done["error"] is None
            assert done["output"] == [{"stream": "stdout", "text": "loading"}]
            assert (await talk.call("pipes"))["value"] == [{"id": "a", "name": "A"}]
            items, done = await talk.stream(context={"metadata": {"chat_id": "c"}})
            assert items == ["hello ", {"choices": []}]
            assert done["metadata"] == {"chat_id": "c", "seen": True}
            assert done["output"] == [{"stream": "stdout", "text": "piping"}]
            assert done["cpu"] is None

    run(story)


def test_failures_are_told_with_kind_line_and_output():
    async def story():
        source = """
            class Filter:
                def inlet(self, body):
                    print("before")
                    raise ValueError("no")
        """
        async with worker(source) as talk:
            done = await talk.call("inlet", {})
            assert done["error"]["kind"] == "hook"
            assert done["error"]["data"]["message"] == "no"
            assert done["error"]["data"]["line"] == 4
            assert done["output"] == [{"stream": "stdout", "text": "before"}]
            assert done["cpu"] > 0
        async with worker() as talk:
            done = await talk.load("import nothing_of_this_name\n")
            assert done["error"]["kind"] == "load"
            assert done["error"]["data"]["type"] == "ModuleNotFoundError"

    run(story)


def test_questions_about_a_function_are_answered(base_packages):
    async def story():
        source = """
            from pydantic import BaseModel

            class Pipe:
                class Valves(BaseModel):
                    count: int = 1

                def __init__(self):
                    self.valves = self.Valves()

                def pipe(self):
                    return "x"
        """
        async with worker(source, site=[base_packages], preload=["pydantic"]) as talk:
            manifest = await talk.end_of(await talk.begin("about", "manifest", None))
            assert manifest["value"]["kind"] == "pipe"
            right = {"scope": "valves", "values": {"count": "3"}}
            assert (await talk.end_of(await talk.begin("about", "validate", right)))["value"] == {"count": 3}
            wrong = {"scope": "valves", "values": {"count": "many"}}
            error = (await talk.end_of(await talk.begin("about", "validate", wrong)))["error"]
            assert error["kind"] == "valves"
            assert error["errors"][0]["loc"] == ["count"]
            options = {"scope": "valves", "user": None}
            schema = (await talk.end_of(await talk.begin("about", "options", options)))["value"]
            assert schema["properties"]["count"]["default"] == 1
            unknown = (await talk.end_of(await talk.begin("about", "colour", None)))["error"]["data"]
            assert unknown["message"] == "Nobody can answer the question 'colour'."

    run(story)


def test_a_stream_waits_for_credit():
    async def story():
        source = """
            class Pipe:
                def pipe(self):
                    for _ in range(40):
                        yield "x" * 50_000
        """
        async with worker(source) as talk:
            number = await talk.begin_stream()
            await asyncio.sleep(0.5)
            sent = sum(talk.sizes_of(number))
            assert WINDOW / 2 < sent <= WINDOW
            await talk.send("credit", number, sent)
            await asyncio.sleep(0.3)
            assert sent < sum(talk.sizes_of(number)) <= sent + WINDOW
            await talk.send("credit", number, 2**40)
            assert (await talk.end_of(number))["error"] is None
            assert len(talk.items_of(number)) == 40

    run(story)


def test_one_item_longer_than_the_window_goes_alone():
    async def story():
        async with worker(
            "class Pipe:\n    def pipe(self):\n        yield 'x' * 2_000_000\n        yield 'y'\n"
        ) as talk:
            number = await talk.begin_stream()
            await talk.until(lambda message: message[0] == "items")
            await asyncio.sleep(0.1)
            assert len(talk.items_of(number)) == 1
            await talk.send("credit", number, talk.sizes_of(number)[0])
            assert (await talk.end_of(number))["error"] is None
            assert talk.items_of(number)[1] == "y"

    run(story)


ENDLESS = {
    "coroutine": "async def pipe(self):\n        await asyncio.sleep(3600)",
    "async generator": "async def pipe(self):\n        while True:\n            yield 'x' * 1000",
    "generator": "def pipe(self):\n        while True:\n            yield 'x' * 1000",
    "function": "def pipe(self):\n        while True:\n            pass",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_stopped_call_ends_with_its_message_when_its_code_has_ended(kind):
    async def story():
        async with worker(f"import asyncio\nclass Pipe:\n    {ENDLESS[kind]}\n") as talk:
            number = await talk.begin_stream()
            await asyncio.sleep(0.2)
            await talk.send("stop", number, "Enough.")
            await talk.send("stop", number, "Enough.")
            done = await talk.end_of(number)
            assert done["error"]["data"]["type"] == "Interrupted"
            assert done["error"]["data"]["message"] == "Enough."
            await talk.send("ping", 7)
            assert await talk.until(lambda message: message == ["pong", 7])

    run(story)


def test_code_that_resists_has_not_ended_and_others_go_on():
    async def story():
        source = """
            import time

            class Pipe:
                def pipe(self, body):
                    if body.get("resist"):
                        for _ in range(3):
                            try:
                                time.sleep(0.5)
                            except BaseException:
                                pass
                    yield "done"
        """
        async with worker(source) as talk:
            number = await talk.begin_stream({"resist": True})
            await asyncio.sleep(0.1)
            await talk.send("stop", number, "Enough.")
            items, _ = await talk.stream()
            assert items == ["done"]
            assert not [m for _, m in talk.frames if m[0] == "done" and m[1] == number]
            assert (await talk.end_of(number))["error"]["data"]["message"] == "Enough."

    run(story)


def test_events_of_a_value_hook_come_before_its_end():
    async def story():
        source = """
            class Filter:
                async def inlet(self, body, __event_emitter__):
                    for n in range(200):
                        await __event_emitter__({"type": "status", "data": {"n": n}})
                    return body
        """
        async with worker(source) as talk:
            done = await talk.call("inlet", {"a": 1})
            assert done["value"] == {"a": 1}
            kinds = [message[0] for _, message in talk.frames[-201:]]
            assert kinds == ["event"] * 200 + ["done"]
            assert talk.frames[-2][1][2] == {"type": "status", "data": {"n": 199}}

    run(story)


TOO_MUCH = {
    "a result": ("action", "return {'text': 'x' * 3_000_000}", "returned"),
    "an event": ("action", "await __event_emitter__({'type': 'x', 'data': 'x' * 3_000_000})", "emitted an event of"),
    "a text that is longer in bytes": ("action", "return {'text': '\\u6f22' * 900_000}", "returned"),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much_is_an_ordinary_error(what):
    async def story():
        hook, line, said = TOO_MUCH[what]
        async with worker() as talk:
            source = f"class Action:\n    async def {hook}(self, body, __event_emitter__):\n        {line}\n"
            assert (await talk.load(source, output_mb=1))["error"] is None
            error = (await talk.call(hook, {}))["error"]["data"]
            assert error["type"] == "OutputLimit"
            assert error["message"] == f"sample {said} more than the limit of 1 MB (output_mb)."

    run(story)


def test_a_chunk_that_is_too_long_is_an_ordinary_error():
    async def story():
        async with worker() as talk:
            source = "class Pipe:\n    def pipe(self):\n        yield 'a'\n        yield '\\u6f22' * 900_000\n"
            await talk.load(source, output_mb=1)
            items, done = await talk.stream()
            assert items == ["a"]
            assert done["error"]["data"]["type"] == "OutputLimit"

    run(story)


UNFIT = {
    "itself": "a = []; a.append(a); return a",
    "too deep": "a = []\n        for _ in range(10_000): a = [a]\n        return a",
    "a number without end": "import sys; return 10 ** 6000",
    "an exception with a long text": "raise RuntimeError('x' * 50_000_000)",
    "an error of ours that says what is no text": "import sys; raise made({'message': 'x', 'line': object()})",
    "an error of ours without data": "error = made({'message': 'x'}); del error.data; raise error",
    "an exception with a long name": "raise type('E' * 40_000_000, (Exception,), {})('x')",
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_cannot_be_sent_is_an_ordinary_error(what):
    async def story():
        made = "import sys; made = sys.modules['pipeline_app.worker.errors'].HookError"
        async with worker(f"class Pipe:\n    def pipes(self):\n        {made}\n        {UNFIT[what]}\n") as talk:
            done = await talk.call("pipes")
            assert done["error"]["data"]["message"]
            assert done["value"] is None

    run(story)


def test_what_an_exception_says_is_cut_to_a_readable_length():
    async def story():
        async with worker("class Pipe:\n    def pipes(self):\n        raise ValueError('x' * 50_000_000)\n") as talk:
            data = (await talk.call("pipes"))["error"]["data"]
            assert data["type"] == "ValueError"
            assert data["line"] == 3
            assert len(data["message"]) < 40_000
            assert "49967232 characters left out" in data["message"]

    run(story)


def test_numbers_that_json_has_not_are_null():
    async def story():
        async with worker(
            "class Pipe:\n    def pipes(self):\n        return [float('nan'), float('inf'), '\\ud800']\n"
        ) as talk:
            assert (await talk.call("pipes"))["value"] == [None, None, "?"]

    run(story)


# --- What author code does to its process ----------------------------------------------------------------

SURVIVED = {
    "sys.exit in a thread": "sys.exit(3)",
    "SystemExit in a thread of its own": "t = threading.Thread(target=sys.exit); t.start(); t.join()",
    "streams closed": "sys.stdout.close(); sys.stderr.close(); sys.stdin.close()",
    "streams gone": "sys.stdout = sys.stderr = None",
    "json replaced": "json.dumps = json.loads = json.JSONEncoder.encode = json.JSONDecoder.decode = None",
    "json internals replaced": "json.encoder.c_make_encoder = json.decoder.scanstring = None",
    "socket replaced": "socket.socket = socket.socketpair = socket.create_connection = None",
    "os replaced": "os.read = os.write = os._exit = os.getpid = None",
    "struct replaced": "struct.Struct = struct.pack = None",
    "a trace function": "sys.settrace(lambda *a: None); threading.settrace(lambda *a: None)",
    "a profile function that fails": "threading.setprofile(lambda *a: 1 / 0)",
    "no garbage collection": "import gc; gc.disable(); gc.freeze()",
    "exit handlers": "import atexit; atexit.register(os._exit, 9)",
    "modules forgotten": "[sys.modules.pop(n) for n in list(sys.modules) if n.startswith('pipeline_app')]",
    "all modules forgotten": "sys.modules.clear()",
    "a little recursion": "sys.setrecursionlimit(120)",
    "endless recursion": "(lambda f: f(f))(lambda f: f(f))",
    "a MemoryError": "bytearray(10 ** 12)",
    "a loop of its own": "asyncio.run(asyncio.sleep(0))",
    "threads that stay": "[threading.Thread(target=threading.Event().wait, daemon=False).start() for _ in range(50)]",
    "a warning made an error": "import warnings; warnings.simplefilter('error')",
    "logging switched off": "logging.disable(99); logging.root.handlers.clear(); logging.shutdown()",
}
ON_THE_LOOP = {
    "sys.exit": "sys.exit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "sys.exit in a task of its own": "asyncio.create_task(leaving()); await asyncio.sleep(0.05)",
    "a stopped loop": "asyncio.get_running_loop().stop(); await asyncio.sleep(0)",
    "no loop set": "asyncio.set_event_loop(None); asyncio.set_event_loop_policy(None)",
    "a signal handler": "signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.set_wakeup_fd(-1)",
    "an alarm that raises": "signal.signal(signal.SIGALRM, boom); signal.setitimer(0, 0.02); await asyncio.sleep(0.1)",
    "all other tasks cancelled": "[t.cancel() for t in asyncio.all_tasks() if t is not asyncio.current_task()]",
    "a debugging loop": "asyncio.get_running_loop().set_debug(True)",
    "asyncio replaced": "asyncio.Future = asyncio.Task = asyncio.wait = asyncio.sleep = None",
}
SOURCE = """
import asyncio, json, logging, os, signal, socket, struct, sys, threading

async def leaving():
    sys.exit(4)

def boom(*_):
    raise ValueError("alarm")

class Pipe:
    {kind} pipes(self):
        {line}

    async def pipe(self):
        yield "still here"
"""


@pytest.mark.parametrize("what", [*SURVIVED, *(f"{what}, on the loop" for what in ON_THE_LOOP)])
def test_a_worker_survives(what):
    async def story():
        name = what.removesuffix(", on the loop")
        line = ON_THE_LOOP[name] if what != name else SURVIVED[name]
        async with worker(SOURCE.format(kind="async def" if what != name else "def", line=line)) as talk:
            assert await talk.call("pipes") is not None, talk.said()
            items, done = await talk.stream()
            assert items == ["still here"], (done, talk.said())
            assert done["error"] is None

    run(story)


FATAL = {
    "os._exit": ("os._exit(5)", lambda status: status == 5 << 8),
    "a signal": ("os.kill(os.getpid(), signal.SIGKILL)", lambda status: status == 9),
    "abort": ("os.abort()", lambda status: status & 127 == 6),
    "a fault in native code": ("import ctypes; ctypes.string_at(0)", lambda status: status & 127 == 11),
    "closed descriptors": ("os.closerange(3, 256)", lambda status: True),
}


@pytest.mark.parametrize("what", FATAL)
def test_a_worker_ends_and_it_is_said_how(what):
    async def story():
        line, fits = FATAL[what]
        async with worker(SOURCE.format(kind="async def", line=line)) as talk:
            assert await talk.call("pipes") is None
            if what == "closed descriptors":
                talk.forked.kill()
            status = await talk.gone()
            assert fits(status), status
            if what == "a fault in native code":
                assert "Segmentation fault" in talk.said()

    run(story)


def test_output_outside_of_calls_is_in_the_log():
    async def story():
        source = """
            import logging, os, threading

            def aside():
                print("from a thread \\ud800")
                logging.getLogger("x").warning("logged by a thread")

            class Pipe:
                def pipes(self):
                    thread = threading.Thread(target=aside)
                    thread.start()
                    thread.join()
                    os.write(1, b"native\\n")
                    logging.info("in the call")
        """
        async with worker(source) as talk:
            assert (await talk.call("pipes"))["output"] == [{"level": "INFO", "text": "in the call"}]
            assert talk.said() == "from a thread \\ud800\nlogged by a thread\nnative\n"

    run(story)


def test_a_worker_ends_with_its_connection():
    async def story():
        async with worker("class Pipe:\n    def pipe(self): return 'x'\n") as talk:
            talk.forked.main.shutdown(2)
            assert await talk.gone() == 0

    run(story)


def test_siblings_do_not_share_their_random_numbers():
    async def story():
        from tests.pipeline_app.runners.talk import CONFIG, Talk, zygote

        source = "import random, uuid\nclass Pipe:\n    def pipes(self):\n        return [random.random(), str(uuid.uuid4())]\n"
        async with zygote() as made:
            talks = [Talk(await made.fork(CONFIG)) for _ in range(2)]
            found = []
            for talk in talks:
                await talk.load(source)
                found += (await talk.call("pipes"))["value"]
                talk.close()
            assert len(set(found)) == 4

    run(story)


def test_events_wait_for_a_server_that_does_not_read():
    async def story():
        source = """
            class Event:
                async def event(self, event, __event_emitter__):
                    for n in range(200):
                        await __event_emitter__({"type": "x", "data": "x" * 100_000})
                        print(n)
        """
        async with worker(source) as talk:
            talk._tasks[0].cancel()  # the server reads no more
            await asyncio.sleep(0.05)
            await talk.send("call", 9, "event", {}, {}, {}, None, False)
            await asyncio.sleep(0.7)
            talk._tasks.append(asyncio.create_task(talk._read()))
            assert (await talk.end_of(9))["error"] is None
            assert len([1 for _, message in talk.frames if message[0] == "event"]) == 200

    run(story)
