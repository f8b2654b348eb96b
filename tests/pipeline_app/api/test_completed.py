"""``/api/chat/completed``: outlet filters for a chat that is over."""

from __future__ import annotations

import pytest

from pipeline_app.models import Run
from pipeline_app.runs import log
from tests.builders import make_function

PATHS = ["/api/chat/completed", "/api/v1/chat/completed"]

FOOTER = """
class Filter:
    {extra}
    async def outlet(self, body, __event_emitter__, __model__, __chat_id__, __message_id__):
        await __event_emitter__({{"type": "status", "data": {{"description": __model__["id"]}}}})
        body["messages"][-1]["content"] += f" ({{__chat_id__}}/{{__message_id__[:4]}})"
        return body
"""


@pytest.fixture
def footer(changed):
    def store(name, source=FOOTER, extra="pass", **more):
        function = make_function(name, source.format(extra=extra), is_global=True)
        function.change_policy(more)
        changed()

    return store


def finished(**more):
    messages = [{"id": "u", "role": "user", "content": "hi"}, {"id": "a", "role": "assistant", "content": "hello"}]
    return {"model": "echo", "messages": messages, **more}


@pytest.mark.parametrize("path", PATHS)
def test_outlet_filters_see_the_chat_and_what_they_leave_is_the_answer(api, pipe, footer, path):
    pipe("echo", "return 'x'")
    footer("footer")
    answer = api.post(path, finished(chat_id="c1", id="a", session_id="s", own={"x": 1}))
    assert answer.status == 200
    assert answer.json["messages"][-1] == {"id": "a", "role": "assistant", "content": "hello (c1/a)"}
    assert {name: answer.json[name] for name in ("chat_id", "id", "session_id", "model", "own", "filter_ids")} == {
        "chat_id": "c1", "id": "a", "session_id": "s", "model": "echo", "own": {"x": 1}, "filter_ids": [],
    }  # fmt: skip
    assert answer.json["events"] == [{"type": "status", "data": {"description": "echo"}}]
    log.write()
    run = Run.objects.get(pk=answer.headers["x-run-id"])
    assert (run.kind, [step["hook"] for step in run.steps]) == ("completed", ["outlet"])


def test_ids_may_be_left_out(api, pipe, footer):
    pipe("echo", "return 'x'")
    footer("footer")
    assert api.post(PATHS[0], finished()).json["messages"][-1]["content"] == "hello (/msg_)"


def test_a_chat_without_filters_comes_back_as_it_is(api, pipe):
    pipe("echo", "return 'x'")
    answer = api.post(PATHS[0], finished(id="a"))
    assert (answer.status, answer.json["messages"]) == (200, finished()["messages"])
    assert "x-run-id" not in answer.headers
    log.write()
    assert not Run.objects.exists()


def test_toggle_filters_run_when_they_are_named(api, pipe, footer):
    pipe("echo", "return 'x'")
    footer("footer", extra="toggle = True")
    assert api.post(PATHS[0], finished()).json["messages"][-1]["content"] == "hello"
    assert api.post(PATHS[0], finished(filter_ids=["footer"])).json["messages"][-1]["content"] == "hello (/msg_)"


def test_a_filter_that_fails_blocks_or_is_skipped_as_its_policy_says(api, pipe, footer):
    pipe("echo", "return 'x'")
    source = "class Filter:\n    {extra}\n    def outlet(self, body):\n        raise ValueError('no')\n"
    footer("broken", source)
    answer = api.post(PATHS[0], finished())
    assert (answer.status, answer.error["code"]) == (500, "function_failed")
    assert answer.headers["x-run-id"]


def test_a_skipped_filter_is_told_of(api, pipe, footer):
    pipe("echo", "return 'x'")
    footer(
        "lenient",
        "class Filter:\n    {extra}\n    def outlet(self, body):\n        raise ValueError('no')\n",
        on_error="skip",
    )
    answer = api.post(PATHS[0], finished())
    assert (answer.status, answer.json["messages"][-1]["content"]) == (200, "hello")
    assert answer.json["events"][0]["type"] == "filter:skipped"


def test_honest_statuses(api, pipe):
    pipe("echo", "return 'x'")
    assert api.post(PATHS[0], finished(model="nothing") | {"model": "nothing"}).status == 404
    for wrong, param in (({"messages": None}, "messages"), ({"model": None}, "model"), ({"id": 5}, "id")):
        answer = api.post(PATHS[0], finished() | wrong)
        assert (answer.status, answer.error["param"]) == (400, param)
