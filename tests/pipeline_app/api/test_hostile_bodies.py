"""Bodies that are no JSON, or JSON that no database and no client can carry: told as the sender's mistake, never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline_app.api.schema import document
from tests.routes import doors

pytestmark = pytest.mark.django_db

VIEWS = {(door.view, door.method): door for door in doors() if door.method not in ("GET", "DELETE")}
POSTS = pytest.mark.parametrize("door", VIEWS.values(), ids=str)

NO_JSON = {
    "nothing": b"",
    "half": b'{"a": ',
    "not UTF-8": b'{"a": "\xff"}',
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a float beyond floats": b'{"a": 1e999}',
    "an integer of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "nested 100,000 deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}
NO_OBJECT = {"array": b"[]", "text": b'"text"', "null": b"null", "number": b"1"}

HOSTILE: list[Any] = [
    "\0", "a\0b", "\ud800", "x" * 100_000, "../../etc/passwd", "<script>", "",
    -1, 0, 10**30, -(10**30), 1e300, 0.5, True, None,
    [], [None], [[[]]], {}, {"a": None}, {"\ud800": "\0"}, [{"id": "\ud800", "name": "\0"}],
]  # fmt: skip
"""Values that stand for each field of a body in turn."""


def fields(door) -> dict[str, Any]:
    """Returns the shapes of the fields of a body, by name; none for bodies that are not described as an object."""
    content = document()["paths"][door.template][door.method.lower()].get("requestBody", {}).get("content", {})
    shape = content.get("application/json", {}).get("schema", {})
    if "$ref" in shape:
        shape = document()["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    return shape.get("properties", {})


def check(answer, door) -> None:
    assert answer.status < 500, answer.text[:500]
    if answer.status >= 400:
        assert answer.error["message"]


@POSTS
def test_what_is_no_json_is_a_mistake_of_the_sender(door, api):
    if door.view.reads_body or not fields(door):
        pytest.skip("takes no JSON object")
    for body in (*NO_JSON.values(), *NO_OBJECT.values()):
        answer = api.request(door.method, door.path, content=body)
        check(answer, door)
        assert answer.status >= 400, body[:40]


@POSTS
def test_no_value_of_a_field_breaks_the_server(door, api, pipe):
    names = fields(door)
    for name in names:
        for value in HOSTILE:
            body = {other: "nothing" for other in names if other in ("id", "content", "model", "hook")} | {name: value}
            check(api.request(door.method, door.path, content=json.dumps(body)), door)
