"""Hooks get what they name, as fresh copies of what the server sent."""

from __future__ import annotations

import asyncio

import pytest

from pipeline_app.worker.arguments import ALL_HOOKS, METADATA_IN_BODY, TABLE, context_for
from pipeline_app.worker.calls import Call

from .helpers import items, joined, loaded, value

CONTEXT = {
    "user": {"id": "u1", "name": "Bob", "role": "user"},
    "metadata": {"chat_id": "c1", "message_id": "m1", "session_id": None, "model": {"id": "sample"}},
    "files": None,
    "task": None,
    "oauth_token": None,
    "features": {"web_search": True},
    "request": {
        "method": "POST",
        "url": "http://house:8000/v1/chat/completions?x=1",
        "base_url": "http://house:8000/",
        "headers": [["User-Agent", "curl"], ["Authorization", "Bearer secret"], ["cookie", "token=secret"]],
        "client": ["1.2.3.4", 5],
    },
}


def test_the_table_describes_every_argument():
    for name, entry in TABLE.items():
        assert entry.name == name
        assert entry.hooks <= ALL_HOOKS
        assert entry.what.endswith(".")


class Watched(dict):
    """A context that notes what is asked of it."""

    def __init__(self, *given):
        super().__init__(*given)
        self.asked = set()

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_an_argument_is_made_from_what_the_table_says_of_the_context(name):
    function = loaded("class Pipe:\n    def pipe(self, body): pass")
    for context in (CONTEXT, {"metadata": {}}):
        watched = Watched(context)
        call = Call(function, "pipe", {}, watched)
        watched.asked.clear()
        TABLE[name].make(call)
        assert watched.asked <= context_for("pipe", (name,))


def test_a_call_needs_of_the_context_what_its_hook_names_and_no_more():
    always = {"id", "head", "profile"}
    assert context_for("outlet", ("body", "other")) == always
    assert context_for("outlet", ("body", "__user__", "__request__")) == always | {"user", "request", "metadata"}
    for hook in METADATA_IN_BODY:
        assert context_for(hook, ("body",)) == always | {"metadata"}


def test_a_pipe_gets_everything_it_names_and_nothing_is_missing():
    names = sorted(
        entry.name
        for entry in TABLE.values()
        if entry.serves("pipe") and entry.name not in ("__request__", "__event_emitter__", "__event_call__")
    )
    function = loaded(
        f"class Pipe:\n    def pipe(self, body, {', '.join(names)}):\n        return {{'given': {{{', '.join(f'{n!r}: {n}' for n in names)}}}}}"
    )
    (whole,) = items(function, {"messages": [{"role": "user", "content": "hi"}]}, CONTEXT)
    given = whole.value["given"]
    assert given == {
        "__body__": {"messages": [{"role": "user", "content": "hi"}]},
        "__chat_id__": "c1",
        "__features__": {"web_search": True},
        "__files__": [],
        "__id__": "sample",
        "__message_id__": "m1",
        "__messages__": [{"role": "user", "content": "hi"}],
        "__metadata__": CONTEXT["metadata"],
        "__model__": {"id": "sample"},
        "__oauth_token__": None,
        "__session_id__": None,
        "__task__": None,
        "__task_body__": None,
        "__tools__": {},
        "__user__": CONTEXT["user"],
        "user": CONTEXT["user"],
    }


def test_what_an_author_changes_stays_in_his_call():
    function = loaded("""
        class Filter:
            def inlet(self, body, __user__, __model__, __features__):
                __user__["name"] = __model__["id"] = __features__["new"] = "changed"
    """)
    context = {"user": {"name": "Bob"}, "model": {"id": "m"}, "features": {"a": {}}}
    value(function, "inlet", {}, context)
    assert context == {"user": {"name": "Bob"}, "model": {"id": "m"}, "features": {"a": {}}}


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("self, body", {"body": 1}),
        ("self, **kwargs", {"kwargs": ["body"]}),
        ("self, data", {"data": 1}),
        ("self, body, /", {"body": 1}),
        ("self, *args", {"args": 1}),
        ("self, __user__, body", {"body": 1}),
        ("self, body, *, __task__='left'", {"body": 1, "__task__": 1}),
    ],
)
def test_the_payload_goes_in_as_the_signature_wants_it(signature, expected):
    function = loaded(
        f"class Filter:\n    def inlet({signature}):\n        given = dict(locals()); given.pop('self')\n        return {{'seen': {{k: (list(v) if k == 'kwargs' else 1) for k, v in given.items() if not (k == '__user__')}}}}"
    )
    assert value(function, "inlet", {}, CONTEXT)["seen"] == expected


def test_kwargs_of_an_event_function_receive_everything():
    function = loaded(
        "class Event:\n    async def event(self, **kwargs):\n        return sorted(kwargs) + [kwargs['__event__'].actor['name'], kwargs['__event_name__']]"
    )
    answer = value(function, "event", {"id": "e", "event": "user.created", "actor": {"name": "Al"}}, {})
    assert answer == [
        "__app__",
        "__event__",
        "__event_id__",
        "__event_name__",
        "__id__",
        "__request__",
        "event",
        "Al",
        "user.created",
    ]


def test_an_event_function_need_not_take_the_event():
    assert (
        value(
            loaded("class Event:\n    def event(self, __event_name__): return __event_name__"),
            "event",
            {"event": "x.y"},
        )
        == "x.y"
    )


def test_pipes_without_a_user_get_none():
    function = loaded("class Pipe:\n    def pipes(self, __user__=1): return [{'id': str(__user__)}]")
    assert value(function, "pipes", None, {}) == [{"id": "None"}]
    assert value(function, "pipes", None, {"user": {"id": "u"}}) == [{"id": "{'id': 'u'}"}]


def test_the_request_is_a_real_one_without_credentials():
    function = loaded("""
        class Pipe:
            async def pipe(self, body, __request__):
                state = __request__.app.state
                __request__.state.mine = 1
                yield {
                    "url": str(__request__.url), "base": str(__request__.base_url), "agent": __request__.headers["user-agent"],
                    "auth": __request__.headers["authorization"], "cookies": __request__.cookies, "method": __request__.method,
                    "host": __request__.client.host, "query": __request__.query_params["x"], "mine": __request__.state.mine,
                    "path": str(__request__.app.url_path_for("get_file_content_by_id", id="f1")),
                    "config": state.config.WEBUI_URL, "gone": await __request__.is_disconnected(), "body": str(await __request__.body()),
                }
    """)
    assert items(function, {}, CONTEXT) == [
        {
            "url": "http://house:8000/v1/chat/completions?x=1",
            "base": "http://house:8000/",
            "agent": "curl",
            "auth": "Bearer hidden",
            "cookies": {"token": "hidden"},
            "method": "POST",
            "host": "1.2.3.4",
            "query": "1",
            "mine": 1,
            "path": "/api/v1/files/f1/content",
            "config": None,
            "gone": False,
            "body": "b''",
        }
    ]
    assert items(loaded("class Pipe:\n    def pipe(self, __request__): return str(__request__)"), {}, {}) == ["None"]


EMITTING = """
    import asyncio, threading
    class Pipe:
        async def pipe(self, body, __event_emitter__):
            await __event_emitter__({"type": "status", "data": {"n": 1, "set": {3}}})
            yield "a"
            await __event_emitter__({"type": "made-up", "data": None})
            yield "b"
            yield "c"
            assert await __event_emitter__({"type": "status", "data": {"n": 2}}) is None
    class Action:
        def action(self, body, __event_emitter__):
            for n in range(200):
                asyncio.run(__event_emitter__({"type": "status", "data": n}))
        async def inlet(self, body, __event_emitter__):
            await asyncio.gather(*(__event_emitter__({"type": "status", "data": n}) for n in range(200)))
        async def outlet(self, body, __event_emitter__):
            await __event_emitter__("no")
        async def request(self, body, __event_call__):
            answer = await __event_call__({"type": "confirmation", "data": {"title": "Sure?"}})
            return {"answer": answer, "truth": bool(answer)}
        def run(self, body, __event_call__):
            return asyncio.run(__event_call__({"type": "input", "data": {}}))
"""


def test_events_come_in_their_place_among_the_text():
    said = joined(items(loaded(EMITTING)))
    assert said == [
        {"type": "status", "data": {"n": 1, "set": [3]}},
        "a",
        {"type": "made-up", "data": None},
        "bc",
        {"type": "status", "data": {"n": 2}},
    ]


ACTION = EMITTING.replace("class Pipe", "class Pipe_")


@pytest.mark.parametrize("hook", ["inlet", "run"])
def test_events_of_a_value_hook_arrive_in_order_before_its_answer(hook):
    function = loaded(
        EMITTING.replace("def action(self", "def run(self")
        .replace("class Pipe", "class Pipe_")
        .replace("        def run(self, body, __event_call__)", "        def other(self, body, __event_call__)")
    )
    seen = []
    value(function, hook, {}, emit=lambda event: seen.append(event["data"]))
    assert seen == list(range(200))


def test_an_event_that_is_no_dict_is_refused():
    with pytest.raises(Exception, match=r'^An event is a dict with "type" and "data", not a str\.$'):
        value(loaded(ACTION), "outlet", {})


def test_a_question_without_a_client_is_answered_by_an_error_that_is_false():
    assert value(loaded(ACTION), "request", {}) == {
        "answer": {"error": "Client session disconnected."},
        "truth": False,
    }


@pytest.mark.parametrize("hook", ["request", "run"])
def test_a_question_is_answered_by_the_client_from_any_thread(hook):
    function = loaded(ACTION)
    asked = []

    async def ask(event):
        await asyncio.sleep(0.01)
        asked.append(event["type"])
        return "yes"

    async def story():
        return await Call(function, hook, {}, {}, ask=ask).value()

    assert asyncio.run(story()) in ("yes", {"answer": "yes", "truth": True})
    assert asked == ["confirmation" if hook == "request" else "input"]


def test_a_pipe_that_only_sends_events_is_held_back_too():
    function = loaded("""
        class Pipe:
            async def pipe(self, body, __event_emitter__):
                for n in range(2000):
                    await __event_emitter__({"type": "status", "data": n})
                return "done"
    """)

    async def story():
        most, count = 0, 0
        async for batch in Call(function, "pipe", {}).items():
            most, count = max(most, len(batch)), count + len(batch)
        return most, count

    most, count = asyncio.run(story())
    assert most <= 66
    assert count == 2001
