"""Any cut of an SSE body gives the same frames, and text comes back as it was."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_app.worker.sse import Cutter

from .helpers import joined


def cut(pieces):
    cutter = Cutter()
    out = []
    for piece in pieces:
        out += cutter.feed(piece)
    return joined(out + cutter.end())


def pieces_of(whole, places):
    places = sorted({place % (len(whole) + 1) for place in places})
    edges = [0, *places, len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(edges)]


words = st.text(st.sampled_from('ab \n\r{}[]"\\:dat é€😀,'), max_size=12)
chunks = st.dictionaries(words, st.one_of(words, st.integers(), st.none(), st.lists(words, max_size=2)), max_size=3)
line_ends = st.sampled_from(["\n", "\r\n"])
extras = st.lists(st.sampled_from([": keep-alive", "event: message", "id: 7", "retry: 10", ":"]), max_size=2)


@st.composite
def bodies(draw):
    """Draws an SSE body and the frames in it."""
    end = draw(line_ends)
    frames = draw(st.lists(chunks, min_size=1, max_size=4))
    text = ""
    for frame in frames:
        for extra in draw(extras):
            text += extra + end + (end if extra.startswith(":") and draw(st.booleans()) else "")
        text += draw(st.sampled_from(["data: ", "data:"]))
        text += json.dumps(frame, ensure_ascii=draw(st.booleans())) + end + end
    if draw(st.booleans()):
        text += f"data: [DONE]{end}{end}"
    return text, frames


@settings(max_examples=400, deadline=None)
@given(bodies(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cut_of_an_sse_body_gives_the_same_frames(body, places):
    text, frames = body
    assert cut(pieces_of(text, places)) == frames


@settings(max_examples=400, deadline=None)
@given(bodies(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cut_of_its_bytes_does_too(body, places):
    text, frames = body
    assert cut(pieces_of(text.encode(), places)) == frames


def test_every_single_cut_and_every_byte_alone_give_the_same_frames():
    frames = [{"choices": [{"delta": {"content": "é\n data: x"}}]}, {"a": "}"}, {}]
    body = (
        ": hello\r\n\r\nevent: message\r\n"
        + "".join(f"data: {json.dumps(f)}\r\n\r\n" for f in frames)
        + "data: [DONE]\n\n"
    )
    for whole in (body, body.encode()):
        for place in range(len(whole) + 1):
            assert cut([whole[:place], whole[place:]]) == frames
        assert cut([whole[i : i + 1] for i in range(len(whole))]) == frames


prose = st.text(st.sampled_from("dat: {}evni\nrx[DONE]é😀\r"), max_size=40).filter(lambda t: '"' not in t)


@settings(max_examples=600, deadline=None)
@given(prose, st.lists(st.integers(0, 100), max_size=10), st.booleans())
def test_plain_text_comes_back_exactly(text, places, as_bytes):
    whole = text.encode() if as_bytes else text
    pieces = pieces_of(whole, places)
    if as_bytes or not any("data:" in piece for piece in pieces):
        frames = [item for item in cut(pieces) if not isinstance(item, str)]
        if not frames and "[DONE]" not in text:
            assert "".join(cut(pieces)) == text


@settings(max_examples=400, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=8))
def test_text_without_sse_words_comes_back_exactly_piece_by_piece(pieces):
    clean = [p.encode("utf-8", "replace").decode().replace("data", "DATA") for p in pieces]
    assert "".join(cut(clean)) == "".join(clean)


@pytest.mark.parametrize(
    "pieces",
    [
        ["data: the quick brown fox"],
        ["data:", " of the year ", "2026"],
        ["data: {not json}\n", "and more"],
        ["event: the party\n", "starts at five"],
        ['Hello\ndata: {"a": 1}\n'],
        ["In SSE, write ", "data", ': {"a": 1}', "\n\n", "to send"],
        [":", ")", " smile"],
        ["\n\n", "text"],
        ["d", "a", "t", "e"],
        ["id", "entity"],
        [": a comment and nothing else"],
        ["data: [DO", "NUT]"],
    ],
)
def test_what_only_looks_like_a_frame_is_text(pieces):
    assert cut(pieces) == ["".join(pieces)]


def test_text_is_passed_on_at_once_and_not_held_until_the_end():
    cutter = Cutter()
    assert cutter.feed("Hello") == ["Hello"]
    assert cutter.feed(" data") == [" data"]
    assert cutter.feed("data") == ["data"]


def test_lines_of_iter_lines_need_no_ends():
    pieces = [
        ": PROCESSING",
        "",
        ": PROCESSING",
        "",
        "event: message",
        'data: {"a": 1}',
        "",
        "event: message",
        'data: {"a": 2}',
        "",
        ": still there",
        'data: {"a": 3}',
        "",
        "data: [DONE]",
    ]
    assert cut(pieces) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert cut([p.encode() for p in pieces]) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_broken_line_of_iter_lines_is_text_and_swallows_nothing():
    assert cut(['data: {"a": 1}', "data: {broken", 'data: {"a": 2}']) == [{"a": 1}, "data: {broken", {"a": 2}]
    assert cut(["data: {broken", 'data: {"a": 2}']) == ["data: {broken", {"a": 2}]


def test_text_and_frames_may_alternate():
    pieces = ["Thinking", "...", 'data: {"a": 1}\n\n', "data: [DONE]\n\n", "Done", ".", 'data: {"b": 2}']
    assert cut(pieces) == ["Thinking...", {"a": 1}, "Done.", {"b": 2}]


def test_a_frame_cut_apart_after_text_is_still_a_frame():
    assert cut(["Look: ", 'data: {"a": "long', ' one"}\n\ndata: {"b', '": 2}\n\n']) == [
        "Look: ",
        {"a": "long one"},
        {"b": 2},
    ]


def test_bytes_that_are_no_utf8_become_replacement_characters():
    assert cut([b"caf\xc3", b"\xa9 \xff"]) == ["café \ufffd"]
    assert cut([b"caf\xc3"]) == ["caf\ufffd"]


def test_nan_and_lone_surrogates_in_a_frame_are_made_harmless():
    assert cut(['data: {"a": NaN, "b": "\\ud800"}\n\n']) == [{"a": None, "b": "?"}]
