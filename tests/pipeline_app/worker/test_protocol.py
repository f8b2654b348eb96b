"""Frames, and what is no frame."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_app.worker.answers import Event, Whole
from pipeline_app.worker.protocol import (
    HEADER,
    MOST_PARTS,
    ProtocolError,
    Reader,
    TooLong,
    encode,
    packed,
    unpacked,
)

MESSAGE = ["items", 1, ["text", {"a": [1, 2.5, None, True]}]]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def frame(body):
    return HEADER.pack(len(body)) + body


def read(*data, limit=2**24):
    reader = Reader(limit)
    return [message for piece in data for _, message in reader.feed(piece)]


@given(st.lists(st.lists(values, min_size=1), min_size=1, max_size=5), st.data())
def test_messages_arrive_as_they_were_sent_however_they_are_cut(messages, data):
    whole = b"".join(encode(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert read(*pieces) == json.loads(json.dumps(messages))


def test_numbers_and_texts_that_json_has_not_are_replaced():
    sent = ["x", math.nan, math.inf, "\ud800", {"\udfff": -math.inf}]
    assert read(encode(sent)) == [["x", None, None, "?", {"?": None}]]


def test_sizes_are_those_of_frames():
    data = encode(MESSAGE)
    assert Reader(1000).feed(data) == [(len(data), MESSAGE)]


def test_no_more_than_asked_for_and_the_rest_later():
    reader = Reader(1000)
    assert len(reader.feed(encode(MESSAGE) * 5, 2)) == 2
    assert reader.ready
    assert len(reader.feed(b"", 2)) == 2
    assert reader.feed(encode(MESSAGE)[:3], 0) == []
    assert len(reader.feed(encode(MESSAGE)[3:])) == 2
    assert not reader.ready
    assert reader.waiting == 0


BAD = {
    "no JSON": b"nothing",
    "half of it": b'["a"',
    "no array": b'{"a": 1}',
    "an empty array": b"[]",
    "no UTF-8": b'["\xff"]',
    "another JSON behind it": b'["a"]["b"]',
    "nothing": b"",
    "too deep": b"[" * 100_000 + b"]" * 100_000,
    "a number without end": b"[" + b"1" * 5000 + b"]",
    "too many arrays": b"[" + b"[]," * MOST_PARTS + b"[]]",
    "too many objects": b"[" + b"{}," * MOST_PARTS + b"{}]",
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_message_is_refused(what):
    with pytest.raises(ProtocolError):
        read(frame(BAD[what]))


def test_a_long_frame_is_refused_before_it_is_read():
    with pytest.raises(ProtocolError, match="a frame of 4294967295 bytes, where 1000 are allowed"):
        read(b"\xff\xff\xff\xff", limit=1000)


def test_constants_that_are_no_json_are_null():
    assert read(frame(b"[NaN, Infinity, -Infinity]")) == [[None, None, None]]


def test_what_is_too_long_is_not_made():
    with pytest.raises(TooLong):
        encode(["x" * 1000], 1000)
    with pytest.raises(TooLong):
        encode([[] for _ in range(MOST_PARTS + 1)], 2**30)
    assert encode(["[{" * MOST_PARTS], 2**30)


UNFIT = {"an object": object(), "a set": {1, 2}, "bytes": b"bytes", "a number without end": 10**5000, "itself": None}


@pytest.mark.parametrize("what", UNFIT)
def test_what_json_cannot_carry_is_said(what):
    message = [UNFIT[what]]
    if what == "itself":
        message.append(message)
    with pytest.raises((TypeError, ValueError, RecursionError)):
        encode(message)


def test_items_travel_and_come_back():
    items = ["text", {"choices": []}, Event(type="status", data={}), Whole({"a": 1}, 201, "application/json")]
    there = unpacked(read(encode(["items", 1, packed(items)]))[0][2])
    assert there == items
    assert [type(item) for item in there] == [str, dict, Event, Whole]


@pytest.mark.parametrize(
    "items",
    [
        [],
        "text",
        {"a": 1},
        None,
        [None],
        [1],
        [["event"]],
        [["event", "x"]],
        [["other", {}]],
        [["whole", {}]],
        [["whole", {"value": 1, "status": "200", "content_type": "x"}]],
        [["whole", {"value": 1, "status": 99, "content_type": "x"}]],
        [["whole", {"value": 1, "status": 200, "content_type": None}]],
        [["whole", {"value": 1, "status": 200, "content_type": "x", "more": 1}]],
        [["event", {}, {}]],
    ],
)
def test_items_of_another_shape_are_refused(items):
    with pytest.raises(ProtocolError):
        unpacked(items)
