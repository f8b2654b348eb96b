from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError

from functions_app.exchange.entries import Entry, read, read_entry, read_export, slug
from tests.functions_app.sources import PIPE

ENTRY = {"id": "hello", "name": "Hello", "content": PIPE, "meta": {"description": "Says it.", "manifest": {"a": "b"}}}


def problem(data):
    found = read_entry(data, "entry 1")
    assert not isinstance(found, Entry), found
    return found.sentence


@pytest.mark.parametrize("data", [ENTRY, [ENTRY], {"function": ENTRY}, [{"function": ENTRY, "downloads": 3}]])
def test_every_shape_of_open_webuis_export_is_read(data):
    (entry,) = read(data)
    assert entry == Entry("entry 1", "hello", PIPE, "Hello", {"description": "Says it."})


def test_what_an_entry_does_not_say_is_none():
    entry = read_entry({"id": "Hello", "content": PIPE, "user": {"name": "somebody"}, "upvotes": 3}, "x")
    assert entry == Entry("x", "hello", PIPE)


def test_switches_valves_and_policy_are_read():
    more = {"is_active": True, "is_global": 0, "valves": {"a": 1}, "policy": {"memory_mb": 256}, "created_at": 60}
    entry = read_entry({**ENTRY, **more}, "x")
    assert isinstance(entry, Entry)
    assert (entry.is_active, entry.is_global, entry.valves, entry.policy) == (True, False, {"a": 1}, {"memory_mb": 256})
    assert entry.created_at == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    assert not entry.resets_valves
    entry = read_entry({**ENTRY, **more}, "x", valves=False, flags=False)
    assert (entry.is_active, entry.is_global, entry.valves) == (None, None, None)


def test_null_takes_valves_back_and_absent_leaves_them():
    assert read_entry({**ENTRY, "valves": None}, "x").resets_valves
    assert not read_entry(ENTRY, "x").resets_valves


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (3, "This is no function: an object is needed, not int."),
        ({}, "The id '' is not usable: only letters, digits and underscores are allowed, no digit first."),
        ({"id": 7}, "The id must be text, not int."),
        ({"id": "a-b"}, "The id 'a-b' is not usable: only letters, digits and underscores are allowed, no digit first."),
        ({**ENTRY, "content": 5}, "The source must be text, not int."),
        ({**ENTRY, "content": " "}, "The source is empty; paste the code of a function."),
        ({**ENTRY, "content": "a\n\0"}, "The source has a NUL character in line 2; remove it."),
        ({**ENTRY, "name": ["x"]}, "The name must be text, not list."),
        ({**ENTRY, "name": "x" * 300}, "The name has 300 characters; at most 255 are allowed."),
        ({**ENTRY, "meta": "x"}, "meta must be an object, not str."),
        ({**ENTRY, "meta": {"a": {"b": ["\ud800"]}}}, "meta is not valid Unicode: half of a surrogate pair (U+D800) in line 1."),
        ({**ENTRY, "meta": {"a": datetime(2026, 1, 1)}}, "meta holds 2026-01-01 00:00:00, a datetime, which JSON does not have; write text."),
        ({**ENTRY, "valves": [1]}, "valves must be an object, not list."),
        ({**ENTRY, "valves": {"a": float("inf")}}, "valves holds inf, a float, which JSON does not have; write text."),
        ({**ENTRY, "is_active": "yes"}, "is_active must be true or false, not 'yes'."),
        ({**ENTRY, "is_global": 2}, "is_global must be true or false, not 2."),
        ({**ENTRY, "policy": {"memory_mb": 1}}, "The policy is not usable. memory_mb: Must be a whole number of at least 128."),
        ({**ENTRY, "created_at": -1}, "created_at must be a time in seconds since 1970, not -1."),
        ({**ENTRY, "created_at": 1e300}, "created_at must be a time in seconds since 1970, not 1e+300."),
    ],
)  # fmt: skip
def test_a_bad_entry_gets_a_sentence(data, sentence):
    assert problem(data).startswith(sentence)


def test_deep_nesting_is_refused():
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    assert problem({**ENTRY, "meta": {"a": deep}}) == "meta is nested more than 32 levels deep."


def test_encrypted_valves_get_a_sentence_and_can_be_passed_over():
    encrypted = {**ENTRY, "valves": "gAAAAABm"}
    assert problem(encrypted).startswith(
        "The valves are encrypted. Export them again in clear (in Open WebUI with GET "
    )
    assert read_entry(encrypted, "x", valves=False).valves is None


def test_of_two_entries_with_one_id_the_second_is_a_problem():
    first, second = read([ENTRY, {**ENTRY, "id": "HELLO"}])
    assert isinstance(first, Entry)
    assert str(second) == "hello (entry 2): This id is there twice: entry 1 and entry 2."


def test_an_export_of_everything_there_is_is_too_much():
    (problem,) = read([ENTRY] * 5001)
    assert str(problem) == "The export: It has 5001 entries; at most 5000 are taken at once."


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe\xfa", b"[" * 100_000, b"[NaN]"])
def test_an_export_that_is_no_json_gets_a_sentence(data):
    with pytest.raises(ValidationError) as caught:
        read_export(data)
    assert caught.value.messages[0].startswith("This is not an export file: it is not JSON (")


@pytest.mark.parametrize(
    ("title", "id"), [("Hello, World!", "hello_world"), ("Café", "cafe"), ("3 times", "_3_times"), ("--", "")]
)
def test_slugs(title, id):
    assert slug(title) == id
