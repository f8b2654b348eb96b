"""Every type of event that functions emit: passed on as it is, in streams and in JSON answers."""

from __future__ import annotations

import asyncio

import pytest

from pipeline_app.answer import Transcript
from pipeline_app.events import Channel
from pipeline_app.worker.answers import Event
from tests.builders import make_function

OUTPUT = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "from output"}]}]

EVENTS = [
    ("status", {"description": "searching", "done": False, "hidden": False, "action": "web_search", "urls": ["a"]}),
    ("message", {"content": "added"}),
    ("chat:message:delta", {"content": "added"}),
    ("replace", {"content": "put"}),
    ("chat:message", {"content": "put"}),
    ("files", {"files": [{"type": "image", "url": "/x.png"}]}),
    ("chat:message:files", {"files": []}),
    ("embeds", {"embeds": ["<b>hi</b>", "https://example.org"], "replace": True}),
    ("chat:message:embeds", {"embeds": []}),
    ("source", {"source": {"name": "s"}, "document": ["d"], "metadata": [{"source": "s"}], "distances": [0.5]}),
    ("citation", {"source": {"name": "s", "url": "u"}, "document": ["d"], "metadata": [{"source": "u"}]}),
    ("source", {"type": "code_execution", "id": "1", "code": "1+1", "result": {"output": "2"}}),
    ("notification", {"type": "warning", "content": "careful"}),
    ("execute", {"code": "return 1"}),
    ("chat:completion", {"content": "so far", "done": False}),
    ("response:completion", {"type": "response.output_text.delta", "delta": "bit"}),
    ("chat:message:error", {"error": {"content": "broken"}, "done": True}),
    ("chat:message:follow_ups", {"follow_ups": ["and then?"]}),
    ("chat:message:favorite", {"favorite": True}),
    ("chat:message:tasks", {"tasks": [{"id": 1}]}),
    ("chat:message:voice", {"voice": "alloy"}),
    ("chat:title", "A title"),
    ("chat:tags", None),
    ("chat:outlet", {"messages": [{"id": "m", "content": "x"}]}),
    ("chat:active", {"active": True, "folder_id": None}),
    ("chat:list", {"chat_id": "c", "folder_id": None}),
    ("chat:messages", {"messages": {}, "currentId": "m"}),
    ("chat:tasks:cancel", {"output": []}),
    ("chat:reload", None),
    ("chat:presence", {}),
    ("context_compaction", {"action": "context_compaction", "done": True}),
    ("terminal:display_file", {"path": "/x", "page": 1}),
    ("terminal:write_file", {"path": "/x"}),
    ("confirmation", {"title": "t", "message": "m"}),
    ("request:interaction:done", {"interaction_id": "i"}),
    ("voice:play_animation", {"name": "wave"}),
    ("own:type", [1, {"deep": [None, True, "\u2028\u00e9"]}]),
]

EMITTER = f"""
EVENTS = {[{"type": kind, "data": data} for kind, data in EVENTS]!r}

class Pipe:
    async def pipe(self, body, __event_emitter__):
        yield "a"
        for event in EVENTS:
            await __event_emitter__(event)
        yield "b"
"""

ALL = [{"type": kind, "data": data} for kind, data in EVENTS]


def test_every_type_is_passed_on_in_order_in_streams_and_in_json(api, pipe):
    pipe("emitter", EMITTER)
    streamed = api.chat("emitter", stream=True)
    assert streamed.events == ALL
    assert streamed.streamed == "ab"
    places = [chunk.get("event") or chunk["choices"][0]["delta"].get("content") for chunk in streamed.chunks]
    assert (places[0], places[1], places[len(ALL)], places[len(ALL) + 1]) == ("a", ALL[0], ALL[-1], "b")
    answer = api.chat("emitter")
    assert answer.json["events"] == ALL
    assert answer.content == "ab"


def test_a_chunk_with_an_event_that_a_pipe_yields_is_an_event_too(api, pipe):
    pipe("yielder", "yield {'event': {'type': 'status', 'data': {'done': True}}}\nyield 'x'")
    expected = [{"type": "status", "data": {"done": True}}]
    assert api.chat("yielder").json["events"] == expected
    assert api.chat("yielder", stream=True).events == expected


def test_filters_and_actions_emit_every_type_too(api, pipe, changed):
    pipe("echo", "return 'x'")
    loop = f"EVENTS = {ALL!r}\n"
    body = "        for event in EVENTS:\n            await __event_emitter__(event)\n        return body\n"
    make_function(
        "loud", f"{loop}class Filter:\n    async def inlet(self, body, __event_emitter__):\n{body}", is_global=True
    )
    make_function("deed", f"{loop}class Action:\n    async def action(self, body, __event_emitter__):\n{body}")
    changed()
    assert api.chat("echo").json["events"] == ALL
    assert api.chat("echo", stream=True).events == ALL
    assert api.post("/api/chat/actions/deed", {}).json["events"] == ALL
    frames = api.post("/api/chat/actions/deed", {"stream": True}).frames
    assert [frame["event"] for frame in frames[:-2]] == ALL


@pytest.mark.parametrize(
    ("flow", "shown"),
    [
        (["a", ("message", {"content": "b"}), "c"], "abc"),
        (["a", ("chat:message:delta", {"content": "b"})], "ab"),
        (["a", ("replace", {"content": "b"}), "c"], "bc"),
        (["a", ("chat:message", {"content": ""}), "c"], "c"),
        (["a", ("message", {"content": 5}), ("message", None), ("message", "x")], "a"),
        ([("chat:completion", {"content": "so far"})], "so far"),
        (["a", ("chat:completion", {"content": "so far", "choices": [{"delta": {"content": "x"}}]})], "so far"),
        (["a", ("chat:completion", {"choices": [{"delta": {"content": "b"}}]})], "ab"),
        (["a", ("chat:completion", {"choices": [{"message": {"content": "b"}}]})], "ab"),
        (["a", ("chat:completion", {"choices": "x", "done": True})], "a"),
        (["a", ("chat:completion", {"output": [*OUTPUT, {"type": "reasoning"}, *OUTPUT]})], "from output\nfrom output"),
        (["a", ("chat:completion", {"usage": {"total_tokens": 5}})], "a"),
        (["a", ("response:completion", {"type": "response.output_text.delta", "delta": "b"})], "ab"),
        # Painted as it grows and given whole in the end, it is there once; otherwise nothing is hidden.
        (
            [("chat:completion", {"content": "so"}), ("chat:completion", {"content": "so far"}), "so far", "."],
            "so far.",
        ),
        ([("chat:completion", {"content": "bad"}), "good"], "badgood"),
        (["a", ("status", {"content": "b"}), ("own", {"content": "c"})], "a"),
    ],
)
def test_the_text_that_a_reader_sees_follows_events(flow, shown):
    transcript = Transcript()
    transcript.add([p if isinstance(p, str) else Event(type=p[0], data=p[1]) for p in flow])
    assert transcript.shown_text() == shown


def test_usage_that_an_event_reports_counts_where_the_answer_reports_none(api, pipe):
    pipe(
        "counted",
        "await __event_emitter__({'type': 'chat:completion', 'data': {'usage': {'total_tokens': 7}}})\nyield 'x'",
        signature="self, body, __event_emitter__",
        is_async=True,
    )
    assert api.chat("counted").json["usage"] == {"total_tokens": 7}
    assert api.chat("counted", stream=True, stream_options={"include_usage": True}).chunks[-1]["usage"] == {
        "total_tokens": 7
    }


async def test_a_channel_gives_what_is_ready_together_and_then_its_error():
    channel = Channel()
    channel.put(1)
    await channel.send([2, 3])
    channel.end(ValueError("over"))
    batches = channel.batches()
    assert await anext(batches) == [1, 2, 3]
    with pytest.raises(ValueError, match="over"):
        await anext(batches)


async def test_a_sender_waits_while_the_reader_is_behind():
    channel = Channel()
    sending = asyncio.create_task(channel.send(list(range(1000))))
    await asyncio.sleep(0)
    assert not sending.done()
    assert len(await anext(channel.batches())) == 1000
    await sending
