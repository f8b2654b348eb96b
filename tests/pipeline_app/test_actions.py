"""Actions triggered over HTTP."""

from __future__ import annotations

import pytest

from tests.builders import make_function, make_model


@pytest.fixture
def action(changed):
    def store(name, body, *, signature="self, body, __event_emitter__=None, __user__=None", method="action", **more):
        lines = "\n".join("        " + line for line in body.splitlines())
        function = make_function(name, f"class Action:\n    async def {method}({signature}):\n{lines}\n", **more)
        assert function.live is not None, function.newest.error
        changed()
        return function

    return store


def test_an_action_answers_with_its_result_and_its_events(api, action):
    action(
        "report",
        "await __event_emitter__({'type': 'status', 'data': {'description': 'counting'}})\n"
        "return {'words': len(body['messages'][-1]['content'].split()), 'by': __user__['name']}",
    )
    answer = api.post("/api/chat/actions/report", {"messages": [{"role": "assistant", "content": "one two"}]})
    assert answer.status == 200
    assert answer.json == {
        "result": {"words": 2, "by": "alice"},
        "events": [{"type": "status", "data": {"description": "counting"}}],
    }
    assert answer.headers["x-run-id"]


def test_the_older_name_run_works_too(api, action):
    action("old", "return 'ran'", method="run")
    assert api.post("/api/chat/actions/old", {}).json["result"] == "ran"


def test_ids_in_the_body_default(api, action):
    action("ids", "return [body['chat_id'], body['session_id'], body['id'][:4], body['messages']]")
    assert api.post("/api/v1/chat/actions/ids", {}).json["result"] == ["", None, "msg_", []]


def test_a_failing_action_is_a_500_that_keeps_its_events(api, action):
    action("broken", "await __event_emitter__({'type': 'status', 'data': {}})\nraise ValueError('nothing to report')")
    answer = api.post("/api/chat/actions/broken", {})
    assert answer.status == 500
    assert answer.error["message"] == "nothing to report (ValueError in function 'broken', action, line 4)"
    assert answer.json["detail"] == answer.error["message"]
    assert answer.json["events"] == [{"type": "status", "data": {}}]


def test_unknown_and_inactive_actions_are_404(api, action, pipe):
    action("sleeping", "return 1", is_active=False)
    pipe("notanaction", "return 1")
    for name in ("nothing", "sleeping", "notanaction"):
        answer = api.post(f"/api/chat/actions/{name}", {})
        assert (answer.status, answer.error["message"]) == (404, f"Action not found: {name}")


def test_others_than_admins_may_trigger_what_is_global_or_attached_to_the_model(bobs_api, action, pipe, changed):
    attached = action("attached", "return 'done'")
    action("everywhere", "return 'done'", is_global=True)
    pipe("echo", "return 'x'")
    assert bobs_api.post("/api/chat/actions/everywhere", {}).status == 200
    assert bobs_api.post("/api/chat/actions/attached", {"model": "echo"}).status == 404
    make_model("preset", base="echo", actions=[attached])
    changed()
    assert bobs_api.post("/api/chat/actions/attached", {"model": "preset"}).json["result"] == "done"


def test_wrong_types_are_named(api, action):
    action("report", "return 1")
    answer = api.post("/api/chat/actions/report", {"messages": "no"})
    assert (answer.status, answer.error["param"]) == (400, "messages")
    assert api.post("/api/chat/actions/report", content=b"[]").status == 400


def test_a_page_to_embed_becomes_an_event(api, action):
    action(
        "page",
        "from fastapi.responses import HTMLResponse\n"
        "return HTMLResponse('<b>hi</b>', headers={'Content-Disposition': 'inline'})",
    )
    answer = api.post("/api/chat/actions/page", {}).json
    assert answer["events"] == [{"type": "embeds", "data": {"embeds": ["<b>hi</b>"]}}]
