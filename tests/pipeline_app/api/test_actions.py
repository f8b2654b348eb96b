"""Actions over HTTP: parts of one, streams, what may be returned, and the list of them."""

from __future__ import annotations

import pytest

from tests.builders import make_function, make_model

PARTS = """
\"\"\"
icon_url: data:whole
\"\"\"

class Action:
    actions = [
        {"id": "one", "name": "The first", "icon_url": "data:one"},
        {"id": "two.b", "description": "second"},
    ]

    async def action(self, body, __id__, __event_emitter__):
        await __event_emitter__({"type": "status", "data": {"description": "working"}})
        return {"id": __id__, "keys": sorted(body)}
"""


@pytest.fixture
def action(changed):
    def store(name, source, **more):
        if "class Action" not in source:
            lines = "\n".join("        " + line for line in source.splitlines())
            source = f"class Action:\n    async def action(self, body, __event_emitter__=None):\n{lines}\n"
        function = make_function(name, source, **more)
        assert function.live is not None, function.newest.error
        changed()
        return function

    return store


def test_a_part_of_an_action_is_told_which_it_is(api, action):
    action("parts", PARTS)
    for name, expected in (("parts.one", "one"), ("parts.two.b", "two.b"), ("parts", "parts")):
        answer = api.post(f"/api/chat/actions/{name}", {"extra": 1, "stream": False})
        assert answer.status == 200, answer.text
        assert answer.json["result"] == {"id": expected, "keys": ["chat_id", "extra", "id", "messages", "session_id"]}
        assert answer.headers["x-run-id"]


@pytest.mark.parametrize("name", ["parts.three", "parts.", "parts.two", "plain.one", "nothing.one"])
def test_a_part_that_there_is_not_is_404(api, action, name):
    action("parts", PARTS)
    action("plain", "return 1")
    answer = api.post(f"/api/chat/actions/{name}", {})
    assert (answer.status, answer.error["code"]) == (404, "action_not_found")
    assert answer.error["message"] == f"Action not found: {name}"


def test_a_stream_has_events_as_they_come_then_the_result(api, action):
    action("parts", PARTS)
    answer = api.post("/api/chat/actions/parts.one", {"stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-run-id"]
    assert answer.frames[0] == {"event": {"type": "status", "data": {"description": "working"}}}
    assert answer.frames[1]["result"]["id"] == "one"
    assert answer.frames[2:] == ["[DONE]"]


def test_a_stream_that_fails_keeps_its_status_until_something_was_sent(api, action):
    action("early", "raise ValueError('no')")
    action("late", "await __event_emitter__({'type': 'status', 'data': {}})\nraise ValueError('no')")
    answer = api.post("/api/chat/actions/early", {"stream": True})
    assert (answer.status, answer.error["code"]) == (500, "function_failed")
    event, error, end = api.post("/api/chat/actions/late", {"stream": True}).frames
    assert event == {"event": {"type": "status", "data": {}}}
    assert error["error"]["message"] == "no (ValueError in function 'late', action, line 4)"
    assert end == "[DONE]"


EMBEDDED = '{\n  "status": "success",\n  "code": "ui_component",\n  "message": "deed: Embedded UI result is active and visible to the user."\n}'
PAGE = "HTMLResponse('<b>hi</b>', headers={'Content-Disposition': 'inline'})"


@pytest.mark.parametrize(
    ("returned", "result", "embeds"),
    [
        ("None", None, None),
        ("'text'", "text", None),
        ("[1, {'a': None}]", [1, {"a": None}], None),
        ("{'messages': [{'id': 'm', 'content': 'new'}]}", {"messages": [{"id": "m", "content": "new"}]}, None),
        ("(1, 'two')", [1, "two"], None),
        (PAGE, EMBEDDED, "<b>hi</b>"),
        (f"({PAGE}, 'what to know')", "what to know", "<b>hi</b>"),
        (f"({PAGE}, {{'a': 1}})", '{\n  "a": 1\n}', "<b>hi</b>"),
        ("('<i>x</i>', {'content-disposition': 'inline', 'Content-Type': 'text/html'})", EMBEDDED, "<i>x</i>"),
        (
            "('', {'Content-Disposition': 'inline', 'Location': 'https://example.org', 'Content-Type': 'text/plain'})",
            EMBEDDED,
            "https://example.org",
        ),
        ("HTMLResponse('<p>page</p>')", "<p>page</p>", None),
        ("JSONResponse({'x': 1})", {"x": 1}, None),
        ("PlainTextResponse('words')", "words", None),
    ],
)
def test_what_an_action_may_return(api, action, returned, result, embeds):
    imports = "from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse\n"
    action("deed", f"{imports}return {returned}")
    answer = api.post("/api/chat/actions/deed", {})
    assert answer.status == 200, answer.text
    assert answer.json["result"] == result
    assert answer.json["events"] == ([{"type": "embeds", "data": {"embeds": [embeds]}}] if embeds else [])


def test_a_response_with_the_status_of_an_error_is_that_error(api, action):
    action("no", "from fastapi.responses import JSONResponse\nreturn JSONResponse({'detail': 'not yours'}, 403)")
    answer = api.post("/api/chat/actions/no", {})
    assert (answer.status, answer.error["message"]) == (403, "not yours")


def test_the_older_name_run_may_return_pages_too(api, action):
    source = f"from fastapi.responses import HTMLResponse\n\nclass Action:\n    def run(self, body):\n        return {PAGE}\n"
    action("old", source)
    assert api.post("/api/chat/actions/old", {}).json["events"][0]["type"] == "embeds"


def test_actions_are_listed_with_the_models_they_apply_to(api, bobs_api, action, pipe, changed):
    parts = action("parts", PARTS, is_global=False)
    action(
        "first", "class Action:\n    icon = 'data:icon'\n    def action(self, body):\n        pass\n", is_global=True
    )
    action("hidden", "return 1")
    action("off", "return 1", is_global=True, is_active=False)
    pipe("echo", "return 'x'")
    make_model("preset", base="echo", actions=[parts])
    changed()
    first = {"id": "first", "name": "first", "description": "", "icon": "data:icon"}
    buttons = [
        {"id": "parts.one", "name": "The first", "description": "", "icon": "data:one"},
        {"id": "parts.two.b", "name": "parts (two.b)", "description": "second", "icon": "data:whole"},
    ]
    listed = bobs_api.get("/api/chat/actions").json["data"]
    assert listed == [
        {**first, "global": True, "models": ["echo", "preset"]},
        *({**button, "global": False, "models": ["preset"]} for button in buttons),
    ]
    assert [entry["id"] for entry in api.get("/api/v1/chat/actions").json["data"]] == [
        "first", "hidden", "parts.one", "parts.two.b",
    ]  # fmt: skip
    models = {model["id"]: model["actions"] for model in bobs_api.get("/api/models").json["data"]}
    assert models == {"echo": [first], "preset": [first, *buttons]}
    for entry in listed:
        body = {"model": "preset", "messages": []}
        assert bobs_api.post(f"/api/chat/actions/{entry['id']}", body).status == 200


@pytest.mark.parametrize("name", ["stream", "interactive", "background"])
def test_a_wrong_switch_is_named(api, action, name):
    action("deed", "return 1")
    answer = api.post("/api/chat/actions/deed", {name: "yes"})
    assert (answer.status, answer.error["param"]) == (400, name)
