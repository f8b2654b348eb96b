"""OpenAI's shapes, over plain data."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_app import wire

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_reads_back(value):
    assert wire.loads(wire.dumps(value)) == value


@given(st.text(st.characters(), max_size=30))
def test_a_text_frame_is_the_chunk_it_stands_for(text):
    frames = wire.TextFrames("id", 1, "model")
    frame = frames(text)
    assert frame.startswith(b"data: ") and frame.endswith(b"\n\n")
    assert json.loads(frame[6:]) == wire.chunk("id", 1, "model", {"content": text})


def test_lone_surrogates_stay_escapes_in_valid_utf8():
    assert wire.dumps("a\ud800é").decode() == '"a\\ud800\\u00e9"'


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"\xff", "it is not UTF-8 text (invalid start byte at byte 0)"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[1e999]", "the number 1e999 is too large"),
        (b"[" + b"9" * 5000 + b"]", "a whole number has more than 4300 digits"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_json_is_explained(raw, message):
    with pytest.raises(ValueError, match=r"^" + __import__("re").escape(message) + "$"):
        wire.loads(raw)


def test_usage_is_a_token_for_four_bytes():
    messages = [{"content": "abcd" * 3}, {"content": [{"type": "text", "text": "é"}, {"type": "image_url"}]}, {}]
    assert wire.estimated_usage(messages, "12345") == {
        "prompt_tokens": 4,
        "completion_tokens": 2,
        "total_tokens": 6,
    }
