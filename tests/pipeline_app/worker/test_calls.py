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
