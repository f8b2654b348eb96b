"""Whatever authors hand over becomes plain JSON types."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import uuid

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_app.worker.jsonable import copy, jsonable, weight


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):
    YES = "yes"


class Model(pydantic.BaseModel):
    when: datetime.date = datetime.date(2026, 11, 25)
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Point:
    x: int
    tags: set


class Silent:
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (float("nan"), None),
        (float("inf"), None),
        ("\ud800x", "?x"),
        (
            {1: "a", None: "b", True: "c", Colour.RED: "d", 2.5: "\udfff"},
            {"1": "c", "null": "b", "red": "d", "2.5": "?"},
        ),
        (Colour.RED, "red"),
        (Word.YES, "yes"),
        (Model(), {"when": "2026-11-25", "colour": "red"}),
        (Point(1, {2}), {"x": 1, "tags": [2]}),
        (datetime.datetime(2026, 11, 25, 10, 0), "2026-11-25T10:00:00"),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (collections.OrderedDict(a=collections.deque([1])), {"a": "deque([1])"}),
        (collections.ChainMap({"a": 1}), {"a": 1}),
        (Silent(), "<Silent that cannot be printed>"),
        (Model, f"<class '{__name__}.Model'>"),
        (2**70, 2**70),
    ],
)
def test_values_become_json(value, expected):
    assert jsonable(value) == expected
    assert jsonable({"in": [value]}) == {"in": [expected]}
    json.dumps(jsonable(value), allow_nan=False).encode()


def test_exact_types_come_out():
    class Text(str):
        pass

    class Count(int):
        pass

    made = jsonable({Text("k"): [Text("v"), Count(3), Word.YES]})
    assert [type(thing) for thing in (*made, *made["k"])] == [str, str, int, str]


def test_what_contains_itself_or_is_too_deep_is_refused_with_a_sentence():
    loop = []
    loop.append(loop)
    message = r"^The data contains itself or is nested deeper than 100 levels, which JSON cannot carry\.$"
    deep = []
    for _ in range(100):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(ValueError, match=message):
            jsonable(value)
    assert jsonable(deep[0]) == deep[0]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_json_comes_back_equal_and_as_another_object(value):
    for made in (jsonable(value), copy(value)):
        assert made == value
        assert not isinstance(value, (dict, list)) or made is not value
    assert weight(value) >= 0


def test_weight_counts_the_characters():
    assert weight("abc") == 3
    assert weight({"a": ["bcd", 1], "e": "f"}) == 38


def test_a_copy_of_a_subclass_is_plain():
    assert copy(collections.OrderedDict(a=1)) == {"a": 1}
