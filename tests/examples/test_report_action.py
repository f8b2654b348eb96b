from __future__ import annotations

import pytest

CONVERSATION = [
    {"role": "user", "content": [{"type": "text", "text": "How? See https://example.org"}, {"type": "image_url"}]},
    {"role": "assistant", "content": "Like this:\n```\nprint(1)\n```\nClear?"},
]
REPORT = """\
- Messages: 2
- Words: 10
- Minutes to read: 3
- Questions asked: 1
- Code blocks: 1
- Links: 1"""


async def test_it_reports_each_step_and_returns_the_figures(example, emit, emitted):
    action = example("report_action")
    user = {"id": "bob", "valves": action.UserValves(words_per_minute=4)}
    result = await action.action({"messages": CONVERSATION}, user, emit)
    assert result["content"] == REPORT
    assert result["figures"]["words"] == 10
    assert emitted == [
        {"type": "status", "data": {"description": "Reading 2 messages", "done": False}},
        {"type": "status", "data": {"description": "Counting", "done": False}},
        {"type": "message", "data": {"content": f"\n\n**Conversation report**\n\n{REPORT}\n"}},
        {"type": "status", "data": {"description": "The report is ready", "done": True}},
    ]


async def test_the_report_can_stay_out_of_the_chat(example, emit, emitted):
    await example("report_action", show_in_chat=False).action({"messages": CONVERSATION}, None, emit)
    assert {event["type"] for event in emitted} == {"status"}


async def test_it_works_without_anybody_listening(example):
    assert (await example("report_action").action({"messages": CONVERSATION}))["figures"]["messages"] == 2


async def test_nothing_to_report_is_said(example):
    with pytest.raises(Exception) as raised:
        await example("report_action").action({})
    assert (raised.value.status_code, raised.value.detail) == (
        400,
        "There is nothing to report on: the request has no messages.",
    )
