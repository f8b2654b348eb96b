"""What hooks answer, what they leave behind, and how they fail."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pipeline_app.worker.calls import Call
from pipeline_app.worker.errors import HookError

from .helpers import items, loaded, value


def failure(function, hook, payload, context=None, **given):
    with pytest.raises(HookError) as caught:
        items(function, payload, context, **given) if hook == "pipe" else value(
            function, hook, payload, context, **given
        )
    return caught.value.data


FILTER = """
    import threading
    class Filter:
        def inlet(self, body, __metadata__=None):
            body["thread"] = threading.current_thread() is threading.main_thread()
            if __metadata__ is not None:
                __metadata__["mark"] = body["metadata"] is __metadata__
        async def outlet(self, body):
            body["thread"] = threading.current_thread() is threading.main_thread()
            return body
        def request(self, body):
            return [body]
"""


def test_sync_hooks_run_on_a_thread_and_async_ones_on_the_loop():
    function = loaded(FILTER)
    assert value(function, "inlet", {})["thread"] is False
    assert value(function, "outlet", {})["thread"] is True


def test_a_filter_that_returns_nothing_has_changed_the_body_in_place():
    assert value(loaded("class Filter:\n    async def outlet(self, body): body['a'] = (1, 2)"), "outlet", {}) == {
        "a": [1, 2]
    }


def test_a_filter_that_returns_something_else_is_told_so():
    assert failure(loaded(FILTER, "wrong"), "request", {}) == {
        "type": "TypeError",
        "message": "request of wrong returned a list. A filter returns the body (a dict), or nothing when it changed "
        "the body in place.",
        "line": None,
        "traceback": None,
        "status": None,
        "detail": None,
    }


def test_metadata_is_the_bodys_own_in_inlet_and_comes_back():
    function = loaded(FILTER)
    metadata = {"chat_id": "c"}

    async def story(payload):
        call = Call(function, "inlet", payload, {"metadata": metadata})
        return await call.value(), call.metadata

    answer, left = asyncio.run(story({}))
    assert left == {"chat_id": "c", "mark": True}
    assert "metadata" not in answer
    assert metadata == {"chat_id": "c"}
    answer, left = asyncio.run(story({"metadata": {"own": 1}}))
    assert answer["metadata"] == left == {"own": 1, "mark": True}


@pytest.mark.parametrize(
    ("does", "left"),
    [
        ("pass", None),
        ("body['metadata']['chat_id'] = 'c'", None),
        ("body['metadata']['chat_id'] = 'd'", {"chat_id": "d", "deep": {"a": [1]}}),
        ("body['metadata']['deep']['a'].append(2)", {"chat_id": "c", "deep": {"a": [1, 2]}}),
        ("body['metadata'] = {'new': 1}", {"new": 1}),
        ("del body['metadata']", None),
        ("body['metadata']['odd'] = Odd()", {"chat_id": "c", "deep": {"a": [1]}, "odd": "odd"}),
        ("body['metadata']['deep'] = Odd()", {"chat_id": "c", "deep": "odd"}),
    ],
)
@pytest.mark.parametrize("how", ["def", "async def"])
def test_metadata_comes_back_only_where_the_hook_changed_it(how, does, left):
    function = loaded(f"""
        class Odd:
            def __eq__(self, other): raise ValueError("not to be compared")
            def __str__(self): return "odd"
        class Filter:
            {how} inlet(self, body):
                {does}
                return body
    """)

    async def story():
        call = Call(function, "inlet", {"messages": []}, {"metadata": {"chat_id": "c", "deep": {"a": [1]}}})
        return await call.value(), call.metadata

    assert asyncio.run(story()) == ({"messages": []}, left)


def test_a_call_that_cannot_begin_fails_and_has_ended():
    async def story():
        call = Call(loaded("class Filter:\n    async def inlet(self, body): pass"), "inlet", {})
        asyncio.get_running_loop().set_task_factory(lambda _, begun, **__: begun.close() or 1 / 0)
        try:
            with pytest.raises(ZeroDivisionError):
                await call.value()
        finally:
            asyncio.get_running_loop().set_task_factory(None)
        assert call.ended

    asyncio.run(story())


def test_a_call_that_was_begun_before_is_waited_for():
    async def story():
        call = Call(loaded("class Filter:\n    async def inlet(self, body): body['a'] = 1"), "inlet", {})
        call.start()
        assert await call.value() == {"a": 1}
        with pytest.raises(RuntimeError, match="A Call is used once"):
            await call.value()

    asyncio.run(story())


def test_a_hook_that_is_not_there_answers_its_payload():
    function = loaded("class Action: pass")
    assert value(function, "action", {"a": 1}) == {"a": 1}
    assert value(function, "event", {"a": 1}) is None
    assert value(loaded("class Pipe:\n    pipes = [{'id': 'a', 'name': 'A'}]"), "pipes", None) == [
        {"id": "a", "name": "A"}
    ]
    assert failure(loaded("class Pipe: pass", "empty"), "pipe", {})["message"] == "empty has no pipe method."


def test_the_model_list_may_be_made_in_any_way():
    for body in (
        "async def pipes(self): return LIST",
        "def pipes(self): return tuple(LIST)",
        "def pipes(self): yield from LIST",
        "async def pipes(self):\n        for x in LIST: yield x",
    ):
        assert value(loaded(f"LIST = [{{'id': 'a', 'name': 'A'}}]\nclass Pipe:\n    {body}"), "pipes", None) == [
            {"id": "a", "name": "A"}
        ]
    assert failure(loaded("class Pipe:\n    def pipes(self): return {'id': 1}", "odd"), "pipes", None)["message"] == (
        'pipes of odd returned a dict. It returns a list of {"id", "name"}.'
    )


@pytest.mark.parametrize("how", ["def", "async def"])
def test_stream_answers_a_batch_and_drops_what_is_falsy(how):
    function = loaded(f"""
        class Filter:
            {how} stream(self, event):
                if event["n"] == 1: return None
                if event["n"] == 2: return {{}}
                if event["n"] == 9: raise ValueError("nine")
                event["seen"] = True
                return event
    """)
    assert value(function, "stream", [{"n": n} for n in range(4)]) == [
        {"n": 0, "seen": True},
        None,
        None,
        {"n": 3, "seen": True},
    ]
    data = failure(function, "stream", [{"n": 0}, {"n": 9}, {"n": 3}])
    assert (data["message"], data["line"], data["index"], data["results"]) == ("nine", 5, 1, [{"n": 0, "seen": True}])
    assert value(function, "stream", []) == []


def test_a_plain_function_that_returns_an_awaitable_is_awaited():
    function = loaded("""
        class Filter:
            async def _do(self, event): return {"n": event["n"] + 1}
            def stream(self, event): return self._do(event)
            def inlet(self, body): return self._do(body)
        """)
    assert value(function, "stream", [{"n": 1}, {"n": 2}]) == [{"n": 2}, {"n": 3}]
    assert value(function, "inlet", {"n": 1}) == {"n": 2}


FAILING = """
import json
class Refused(Exception):
    status_code = 418
    detail = {"why": "teapot"}
class Filter:
    def inlet(self, body):
        return self.deeper(body)
    def deeper(self, body):
        try:
            json.loads("{")
        except ValueError as exc:
            raise RuntimeError("cannot read it") from exc
    async def outlet(self, body):
        return json.loads("nonsense")
    async def request(self, body):
        raise Refused()
    async def stream(self, event):
        raise SystemExit(4)
"""


def test_a_failure_shows_the_authors_lines_and_no_others():
    data = failure(loaded(FAILING, "failing"), "inlet", {})
    assert (data["type"], data["message"], data["line"]) == ("RuntimeError", "cannot read it", 12)
    assert (
        data["traceback"].splitlines()[:4]
        == [
            "Traceback (most recent call last):",
            '  File "/functions/failing/v1.py", line 10, in deeper',
            '    json.loads("{")',
            f'  File "{__import__("json").decoder.__file__}", line 353, in raw_decode',
        ]
        or "raw_decode" in data["traceback"]
    )
    assert data["traceback"].endswith(
        '  File "/functions/failing/v1.py", line 7, in inlet\n    return self.deeper(body)\n           ^^^^^^^^^^^^^^^^^\n'
        '  File "/functions/failing/v1.py", line 12, in deeper\n    raise RuntimeError("cannot read it") from exc\n'
        "RuntimeError: cannot read it\n"
    )
    assert "pipeline_app" not in data["traceback"]


def test_a_failure_in_a_library_ends_with_its_last_frame():
    data = failure(loaded(FAILING, "failing"), "outlet", {})
    assert (data["type"], data["line"]) == ("JSONDecodeError", 14)
    assert data["traceback"].count("  File ") == 2


def test_status_and_detail_of_an_http_exception_are_kept():
    data = failure(loaded(FAILING), "request", {})
    assert (data["status"], data["detail"], data["type"]) == (418, {"why": "teapot"}, "Refused")
    data = failure(
        loaded(
            "from fastapi import HTTPException\nclass Filter:\n    def inlet(self, body): raise HTTPException(403, 'Not you')"
        ),
        "inlet",
        {},
    )
    assert (data["status"], data["detail"], data["message"]) == (403, "Not you", "Not you")


def test_even_sys_exit_in_a_task_is_only_a_failure():
    data = failure(loaded(FAILING), "stream", [{}])
    assert (data["type"], data["message"], data["line"]) == ("SystemExit", "4", 18)


def test_exceptions_that_cannot_be_printed_are_failures_too():
    data = failure(
        loaded("""
        class Bad(Exception):
            def __str__(self): raise RuntimeError("no")
        class Filter:
            def inlet(self, body): raise Bad()
    """),
        "inlet",
        {},
    )
    assert (data["type"], data["message"], data["line"]) == ("Bad", "Bad, which cannot be printed", 4)


HOSTILE = """
    class Named(type):
        __name__ = property(lambda kind: object())
    class Unnamed(type):
        @property
        def __name__(kind): raise SystemExit
    class Lying(Exception, metaclass=Named): pass
    class Nameless(Exception, metaclass=Unnamed): pass
    class Exiting(Exception):
        def __str__(self): raise SystemExit
    class Closed(Exception):
        def __getattr__(self, name): raise KeyError(name)
    class Untraceable(Exception):
        __traceback__ = property(lambda self: 1 / 0)
    class Filter:
        async def inlet(self, body): raise self.made(body)
        def outlet(self, body): raise self.made(body)
        def made(self, body):
            kind = globals().get(body["kind"], SyntaxError)
            made = kind("said")
            if kind is SyntaxError:
                made.filename, made.lineno = Filter.inlet.__code__.co_filename, object()
            return made
"""


@pytest.mark.parametrize("hook", ["inlet", "outlet"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Lying", "said"),
        ("Nameless", "said"),
        ("Exiting", "Exiting, which cannot be printed"),
        ("Closed", "said"),
        ("Untraceable", "said"),
        ("SyntaxError", "said"),
    ],
)
def test_an_exception_tells_what_it_is_whatever_its_class_and_attributes_do(hook, kind, message):
    data = failure(loaded(HOSTILE), hook, {"kind": kind})
    assert (data["type"], data["message"]) == (kind, message)
    assert type(data["traceback"]) is str and kind in data["traceback"]
    assert data["line"] == (None if kind == "SyntaxError" else {"inlet": 15, "outlet": 16}[hook])


@pytest.mark.parametrize(
    "made",
    [
        "for number in range(50_000):\n                made = ValueError(number)\n                made.__context__, last = last, made",
        "last = ExceptionGroup('many', [ValueError(number) for number in range(50_000)])",
        "for number in range(1000):\n                last = ExceptionGroup('deep', [last])",
    ],
    ids=["chained", "wide", "deep"],
)
def test_thousands_of_exceptions_behind_one_are_counted_instead_of_printed(made):
    source = f"""
    class Filter:
        def inlet(self, body):
            last = ValueError("first")
            {made}
            raise last
    """
    data = failure(loaded(source), "inlet", {})
    assert data["traceback"].startswith("Traceback (most recent call last):\n")
    assert "in inlet\n    raise last\n" in data["traceback"]
    assert data["traceback"].endswith("(More than 100 other exceptions belong to it.)\n")
    assert len(data["traceback"]) < 1000


def test_of_a_stack_of_hundred_thousands_the_last_frames_are_told():
    source = """
    import types
    class Filter:
        def inlet(self, body):
            try:
                1 / 0
            except ZeroDivisionError as error:
                step = error.__traceback__
                for _ in range(100_000):
                    step = types.TracebackType(step, step.tb_frame, 0, 6)
                raise error.with_traceback(step)
    """
    data = failure(loaded(source), "inlet", {})
    assert (data["type"], data["message"]) == ("ZeroDivisionError", "division by zero")
    assert data["traceback"].count("  File ") < 10  # the others are repetitions


@pytest.mark.parametrize("kind", ["KeyError", "SystemExit"])
def test_metadata_that_cannot_be_kept_fails_the_call_and_it_ends(kind):
    source = f"""
    class Closed:
        def __getattr__(self, name): raise {kind}(name)
    class Filter:
        def inlet(self, body, __metadata__): __metadata__["x"] = Closed()
    """
    data = failure(loaded(source), "inlet", {"metadata": {}})
    assert data["type"] == kind
    assert data["message"].endswith("'model_dump'" if kind == "KeyError" else "model_dump")


def test_levels_of_logging_may_be_called_anything():
    function = loaded("""
        import logging
        class Filter:
            def inlet(self, body):
                logging.addLevelName(45, ("not", "text"))
                logging.addLevelName(46, "x" * 100_000)
                logging.log(45, "one")
                logging.log(46, "two")
    """)

    async def story():
        call = Call(function, "inlet", {})
        await call.value()
        return call.output

    assert asyncio.run(story()) == [
        {"level": "('not', 'text')", "text": "one"},
        {"level": "x" * 20, "text": "two"},
    ]


def test_two_sources_with_one_number_show_their_own_lines():
    first = loaded("class Filter:\n    def inlet(self, body): raise ValueError('one')", "draft", 0)
    second = loaded("class Filter:\n    def inlet(self, body): raise ValueError('two')", "draft", 0)
    assert "ValueError('one')" in failure(first, "inlet", {})["traceback"]
    assert "ValueError('two')" in failure(second, "inlet", {})["traceback"]


def test_a_signature_that_asks_for_more_than_there_is_fails_as_python_says():
    data = failure(loaded("class Filter:\n    def inlet(self, body, wanted): pass"), "inlet", {})
    assert data["message"] == "Filter.inlet() missing 1 required positional argument: 'wanted'"


def test_an_answer_beyond_the_limit_is_refused():
    big = loaded("class Filter:\n    def inlet(self, body): body['x'] = 'a' * 2000000\nclass Pipe_: pass", "big")
    assert failure(big, "inlet", {}, output_limit=1024 * 1024)["message"] == (
        "big returned more than the limit of 1 MB (output_mb)."
    )
    pipe = loaded("class Pipe:\n    def pipe(self, body):\n        yield 'ok'\n        yield 'a' * 2000000", "big")
    assert failure(pipe, "pipe", {}, output_limit=1024 * 1024)["type"] == "OutputLimit"


def test_a_failure_comes_after_the_items_before_it():
    function = loaded(
        "class Pipe:\n    async def pipe(self, body):\n        yield 'one'\n        raise ValueError('two')"
    )

    async def story():
        said = []
        try:
            async for batch in Call(function, "pipe", {}).items():
                said += batch
        except HookError as exc:
            said.append(exc.data["message"])
        return said

    assert asyncio.run(story()) == ["one", "two"]


def test_a_call_is_used_once():
    async def story():
        call = Call(loaded(FILTER), "outlet", {})
        await call.value()
        await call.value()

    with pytest.raises(RuntimeError, match=r"A Call is used once; make another one\."):
        asyncio.run(story())


def test_cpu_time_is_known_for_threads_only():
    async def story(hook):
        call = Call(loaded(FILTER), hook, {})
        await call.value()
        return call.cpu

    assert asyncio.run(story("inlet")) > 0
    assert asyncio.run(story("outlet")) is None


def test_every_function_has_at_most_128_threads_and_all_calls_are_served():
    function = loaded("""
        import threading, time
        names = set()
        class Filter:
            def inlet(self, body):
                time.sleep(0.01)
                names.add(threading.get_ident())
    """)

    async def story():
        await asyncio.gather(*(Call(function, "inlet", {}).value() for _ in range(400)))

    before = threading.active_count()
    asyncio.run(story())
    assert threading.active_count() - before <= 128
    assert 1 < len(function.module.names) <= 128


def test_what_is_printed_and_logged_stays_with_its_call(capsys):
    function = loaded("""
        import asyncio, logging, sys
        log = logging.getLogger("author")
        class Filter:
            async def inlet(self, body):
                print("I am", end=" ")
                await asyncio.sleep(0.01)
                print(body["who"])
                log.warning("careful, %s", body["who"])
                print("bad", file=sys.stderr, end="")
            def outlet(self, body):
                print("x" * 100000)
                print("never kept")
    """)

    async def one(who):
        call = Call(function, "inlet", {"who": who})
        await call.value()
        return call.output

    async def story():
        return await asyncio.gather(one("alice"), one("bob"))

    assert asyncio.run(story()) == [
        [
            {"stream": "stdout", "text": f"I am {who}"},
            {"level": "WARNING", "text": f"careful, {who}"},
            {"stream": "stderr", "text": "bad"},
        ]
        for who in ("alice", "bob")
    ]

    async def much():
        call = Call(function, "outlet", {})
        await call.value()
        return call.output

    lines = asyncio.run(much())
    assert len(lines) == 2
    assert len(lines[0]["text"]) == 64 * 1024
    assert lines[1]["text"] == "Output beyond 64 KB of this call is not kept."
    print("to the console")
    assert capsys.readouterr().out.endswith("to the console\n")
