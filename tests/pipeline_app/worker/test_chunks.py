"""Chunks that are nothing but text travel as their text; all others as they are."""

from __future__ import annotations

import copy

import pytest

from pipeline_app import wire
from pipeline_app.worker.chunks import Head, chunk_of, text_of

from .helpers import loaded, value
from .test_calls import failure

HEAD = Head("chatcmpl-1", 1_764_000_000, "house")


class Text(str):
    pass


def changed(**changes):
    """Returns a chunk after changes to it, its choice or its delta."""
    chunk = chunk_of(HEAD, "hi")
    (choice,) = chunk["choices"]
    for part in (chunk, choice, choice["delta"]):
        for name in changes.keys() & (part.keys() | ({"more"} if part is chunk else set())):
            part[name] = changes[name]
    return chunk


def test_a_text_becomes_the_chunk_that_clients_get():
    assert chunk_of(HEAD, "hi") == wire.chunk(*HEAD, {"content": "hi"})


def test_a_chunk_whose_text_alone_changed_is_its_text():
    chunk = chunk_of(HEAD, "hi")
    assert text_of(HEAD, chunk) == "hi"
    chunk["choices"][0]["delta"]["content"] += " there"
    assert text_of(HEAD, chunk) == "hi there"
    chunk["choices"] = [dict(chunk["choices"][0])]
    assert text_of(HEAD, dict(chunk)) == "hi there"


@pytest.mark.parametrize(
    "chunk",
    [
        changed(id="other"),
        changed(object="chat.completion"),
        changed(created=1),
        changed(created=float(HEAD.created)),
        changed(model=Text("house")),
        changed(more=1),
        changed(choices=[]),
        changed(choices=(changed()["choices"][0],)),
        changed(choices=[changed()["choices"][0]] * 2),
        changed(index=1),
        changed(index=False),
        changed(logprobs={}),
        changed(finish_reason="stop"),
        changed(delta={}),
        changed(delta={"content": "hi", "role": "assistant"}),
        changed(delta={"reasoning_content": "hi"}),
        changed(content=""),
        changed(content=None),
        changed(content=Text("hi")),
        {name: value for name, value in changed().items() if name != "model"},
        "hi",
        None,
    ],
)
def test_everything_else_is_no_text(chunk):
    assert text_of(HEAD, chunk) is None


@pytest.mark.parametrize("how", ["def", "async def"])
def test_a_stream_hook_sees_chunks_and_answers_texts_where_it_changed_nothing_else(how):
    function = loaded(f"""
        class Filter:
            {how} stream(self, event):
                delta = event["choices"][0]["delta"]
                match delta["content"]:
                    case "drop": return None
                    case "mark": event["mark"] = True
                    case "say": return "said"
                    case "lone": delta["content"] = "\\ud800"
                    case _: delta["content"] += "!"
                return event
    """)
    chunk = {**changed(), "choices": [{"index": 1, "delta": {"content": "a chunk"}}]}
    batch = ["one", "drop", "mark", "say", "lone", chunk]
    answers = value(function, "stream", copy.deepcopy(batch), {"head": tuple(HEAD)})
    marked = {**chunk_of(HEAD, "mark"), "mark": True}
    chunk["choices"][0]["delta"]["content"] += "!"
    assert answers == ["one!", None, marked, "said", "?", chunk]


def test_a_stream_hook_that_answers_neither_chunk_nor_text_is_told_so():
    function = loaded("class Filter:\n    def stream(self, event): return [event]", "listing")
    assert failure(function, "stream", ["hi"], {"head": tuple(HEAD)})["message"] == (
        "stream of listing returned a list. A filter returns the event (a dict), or nothing to drop it."
    )
