"""Everything a pipe may return or yield, and what an action may return."""

from __future__ import annotations

import json

import pytest

from pipeline_app.worker.answers import Whole

from .helpers import items, joined, loaded, value

PRELUDE = """
import asyncio, json
from pydantic import BaseModel
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse, HTMLResponse
class M(BaseModel):
    a: int = 1
class Steps:
    def __init__(self): self.n = 0
    def __aiter__(self): return self
    async def __anext__(self):
        self.n += 1
        if self.n > 2: raise StopAsyncIteration
        return M(a=self.n)
async def later(value): return value
async def agen(*values):
    for value in values: yield value
def gen(*values):
    yield from values
"""


def said(expression, how="def"):
    return joined(items(loaded(f"{PRELUDE}\nclass Pipe:\n    {how} pipe(self, body):\n        return {expression}\n")))


@pytest.mark.parametrize("how", ["def", "async def"])
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'text'", ["text"]),
        ("''", []),
        ("None", []),
        ("42", ["42"]),
        ("b'caf\\xc3\\xa9'", ["café"]),
        ("{'a': 1}", [Whole({"a": 1})]),
        ("M()", [Whole({"a": 1})]),
        ("['a', None, '', 'b', 3, {'c': 1}]", ["ab3", {"c": 1}]),
        ("('a', 'b')", ["ab"]),
        ("map(str, [1, 2])", ["12"]),
        ("gen('a', b'b', M(), None, 1.5)", ["ab", {"a": 1}, "1.5"]),
        ("agen('a', b'b', M(), None, 1.5)", ["ab", {"a": 1}, "1.5"]),
        ("Steps()", [{"a": 1}, {"a": 2}]),
        ("later('x')", ["x"]),
        ("later(later(gen('x', 'y')))", ["xy"]),
        ("later(agen('x', 'y'))", ["xy"]),
        ("gen('data: {\"a\": 1}\\n\\n', 'data: [DONE]\\n\\n')", [{"a": 1}]),
        ("agen(b'data: {\"a\"', b': 1}\\n\\ndata: [DO', b'NE]\\n\\n')", [{"a": 1}]),
        ("JSONResponse({'a': 1})", [Whole({"a": 1}, 200, "application/json")]),
        ("JSONResponse({'error': 'no'}, 429)", [Whole({"error": "no"}, 429, "application/json")]),
        ("PlainTextResponse('hi')", ["hi"]),
        ("PlainTextResponse('no', 503)", [Whole("no", 503, "text/plain; charset=utf-8")]),
        ("StreamingResponse(agen('data: {\"a\": 1}\\n\\n'), media_type='text/event-stream')", [{"a": 1}]),
        ("StreamingResponse(gen('a', 'b'))", ["ab"]),
        (
            "StreamingResponse(agen('{\"e\":', '1}'), 500, media_type='application/json')",
            [Whole({"e": 1}, 500, "application/json")],
        ),
    ],
)
def test_whatever_a_pipe_returns_becomes_items(how, expression, expected):
    assert said(expression, how) == expected


def test_the_clean_up_of_a_response_runs_after_its_body():
    function = loaded(
        PRELUDE
        + """
from starlette.background import BackgroundTask
log = []
async def body():
    yield "a"
    log.append("body")
class Pipe:
    async def pipe(self, body_):
        return StreamingResponse(body(), background=BackgroundTask(log.append, "after"))
"""
    )
    assert items(function) == ["a"]
    assert function.module.log == ["body", "after"]


def test_held_back_text_comes_before_what_follows():
    assert said("gen('d', {'a': 1}, 'da')") == ["d", {"a": 1}, "da"]


def test_an_action_answers_data_as_it_is():
    function = loaded("class Action:\n    async def action(self, body): return {'messages': [1]}")
    assert value(function, "action", {}) == {"messages": [1]}
    assert value(loaded("class Action:\n    def action(self, body): return None"), "action", {}) is None


@pytest.mark.parametrize(
    ("expression", "answer", "embedded"),
    [
        ("HTMLResponse('<b>', headers={'Content-Disposition': 'inline'})", None, "<b>"),
        ("(HTMLResponse('<b>', headers={'Content-Disposition': 'inline'}), 'seen')", "seen", "<b>"),
        ("(HTMLResponse('<b>', headers={'Content-Disposition': 'inline'}), {'a': 1})", '{\n  "a": 1\n}', "<b>"),
        ("('<i>', {'content-disposition': 'inline', 'Content-Type': 'text/html'})", None, "<i>"),
        ("('x', {'Content-Disposition': 'inline', 'Location': 'https://e.org'})", None, "https://e.org"),
    ],
)
def test_an_action_may_embed_a_page(expression, answer, embedded):
    function = loaded(f"{PRELUDE}\nclass Action:\n    def action(self, body):\n        return {expression}\n", "shower")
    seen = []
    result = value(function, "action", {}, {"id": "sub"}, emit=seen.append)
    assert seen == [{"type": "embeds", "data": {"embeds": [embedded]}}]
    if answer is None:
        assert json.loads(result) == {
            "status": "success",
            "code": "ui_component",
            "message": "sub: Embedded UI result is active and visible to the user.",
        }
    else:
        assert result == answer


def test_a_page_that_is_not_to_be_embedded_is_the_response():
    function = loaded(
        f"{PRELUDE}\nclass Action:\n    async def action(self, body):\n        return HTMLResponse('<b>', 201)\n"
    )
    assert value(function, "action", {}) == Whole("<b>", 201, "text/html; charset=utf-8")
