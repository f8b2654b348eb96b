from __future__ import annotations

import pytest

from functions_app.valves import broken_rules, clean_rules, effective, holding, incompatibilities, narrowed, same

SCHEMA = {
    "properties": {
        "size": {"type": "integer", "default": 5, "minimum": 1},
        "price": {"anyOf": [{"type": "number"}, {"type": "string"}], "default": "1.5"},
        "host": {"type": "string", "default": "localhost", "pattern": "^l"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}, "default": ["a"]},
        "mode": {"type": "string", "input": {"type": "select", "options": ["a", {"value": "b", "label": "Bee"}]}},
        "API_KEY": {"type": "string", "default": ""},
        "free": {"type": "object"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
    },
    "$defs": {"Tag": {"type": "string"}},
}


def test_rules_give_sentences_that_do_not_repeat_the_value():
    rules = {
        "a": {"minimum": 1, "maximum": 3},
        "b": {"choices": ["x", True]},
        "c": {"fixed": 1},
        "d": {"pattern": "^x"},
    }
    assert broken_rules({"a": 2, "b": "x", "c": 1, "d": "xy"}, rules) == []
    assert broken_rules({"a": 4, "b": 1, "c": True, "d": "y"}, rules) == [
        {"loc": ["a"], "msg": "Must be at most 3."},
        {"loc": ["b"], "msg": "Must be one of x, true."},
        {"loc": ["c"], "msg": "An administrator has fixed this value."},
        {"loc": ["d"], "msg": "Must match the pattern ^x"},
    ]
    assert broken_rules({"a": 0}, rules) == [{"loc": ["a"], "msg": "Must be at least 1."}]
    assert broken_rules({"a": None}, rules) == []


def test_a_value_cannot_slip_through_in_another_form():
    rules = {"a": {"maximum": 3}, "d": {"pattern": "x"}}
    assert broken_rules({"a": "4.0"}, rules) == [{"loc": ["a"], "msg": "Must be at most 3."}]
    assert broken_rules({"a": "2.5"}, rules) == []
    for odd in ("many", True, {"a": 1}, "nan", "inf"):
        assert broken_rules({"a": odd}, rules) == [{"loc": ["a"], "msg": "Must be a number."}]
    assert broken_rules({"d": 5}, rules) == [{"loc": ["d"], "msg": "Must be text."}]
    assert broken_rules({"d": "x" * 2001}, rules) == [{"loc": ["d"], "msg": "Must have at most 2000 characters."}]


def test_in_a_list_each_item_keeps_the_rule():
    assert broken_rules({"tags": ["a", "b"]}, {"tags": {"choices": ["a", "b"]}}) == []
    assert broken_rules({"tags": ["a", "c"]}, {"tags": {"choices": ["a", "b"]}}) != []
    assert broken_rules({"tags": ["a"]}, {"tags": {"fixed": ["a", "b"]}}) != []


def test_equal_means_equal_in_json():
    assert same({"a": [1, "x"]}, {"a": [1.0, "x"]})
    assert not same([1], [True])
    assert not same({"a": 0}, {"a": False})


def test_what_a_rule_forbids_is_as_if_it_were_not_set_and_what_it_fixes_comes_first_and_wins():
    rules = {"size": {"maximum": 9, "default": 7}, "host": {"fixed": "lab"}, "gone": {"fixed": 1}}
    held, errors = holding(SCHEMA, {"mode": "a", "size": 10, "host": "x", "tags": None}, rules)
    assert (held, errors) == ({"size": 7, "host": "lab", "mode": "a"}, [])
    assert list(held)[:2] == ["size", "host"]
    assert effective(SCHEMA, {"size": 8}, rules) == {
        "size": 8, "price": "1.5", "host": "lab", "tags": ["a"], "API_KEY": "", "maybe": None
    }  # fmt: skip


def test_a_rule_that_leaves_nothing_is_told():
    held, errors = holding(SCHEMA, {"size": 10}, {"size": {"maximum": 3}})
    assert (held, errors) == ({}, [{"loc": ["size"], "msg": "Must be at most 3."}])
    # A secret that is not there breaks no rule.
    assert holding(SCHEMA, {}, {"API_KEY": {"pattern": "^sk-"}}) == ({}, [])


def test_without_rules_values_are_as_they_were_set():
    assert holding(SCHEMA, {"size": 10, "mode": None}, {}) == ({"size": 10}, [])


def test_the_schema_says_what_the_rules_do():
    rules = {
        "size": {"minimum": 0, "maximum": 9, "default": 7},
        "host": {"pattern": "b$"},
        "tags": {"choices": ["a", "b"]},
        "mode": {"choices": ["b", "c"]},
        "API_KEY": {"pattern": "^sk-"},
        "maybe": {"fixed": 3},
        "gone": {"fixed": 1},
    }
    shown = narrowed(SCHEMA, rules)["properties"]
    assert shown["size"] == {"type": "integer", "default": 7, "minimum": 1, "maximum": 9}
    assert (shown["host"]["pattern"], shown["host"]["allOf"]) == ("^l", [{"pattern": "b$"}])
    assert shown["tags"]["items"] == {"type": "string", "enum": ["a", "b"]}
    assert shown["mode"]["enum"] == ["b", "c"]
    assert shown["mode"]["input"] == {"type": "select", "options": [{"value": "b", "label": "Bee"}, "c"]}
    assert shown["API_KEY"]["pattern"] == "^sk-"
    assert (shown["maybe"]["const"], shown["maybe"]["default"], shown["maybe"]["readOnly"]) == (3, 3, True)
    assert "gone" not in shown
    assert SCHEMA["properties"]["size"] == {"type": "integer", "default": 5, "minimum": 1}


def test_empty_rules_and_empty_parts_are_left_out():
    given = {"size": {"maximum": 9, "minimum": None}, "host": {}, "mode": None}
    assert clean_rules(given, SCHEMA) == ({"size": {"maximum": 9}}, [])


@pytest.mark.parametrize(
    ("rules", "loc"),
    [
        ([], []),
        ({"size": []}, ["size"]),
        ({"size": {"maximum": "9"}}, ["size", "maximum"]),
        ({"size": {"maximum": 10**400}}, ["size", "maximum"]),
        ({"size": {"choices": "ab"}}, ["size", "choices"]),
        ({"size": {"choices": [None]}}, ["size", "choices"]),
        ({"size": {"choices": list(range(101))}}, ["size", "choices"]),
        ({"host": {"pattern": 5}}, ["host", "pattern"]),
        ({"tags": {"minimum": 5}}, ["tags", "minimum"]),
        ({"tags": {"choices": ["a"], "fixed": ["b"]}}, ["tags", "fixed"]),
        ({"API_KEY": {"choices": ["sk"]}}, ["API_KEY", "choices"]),
        ({"mode": {"choices": ["x" * 60_000]}}, []),
        ({"free": {"fixed": {"X-Api-Key": "sk"}}}, ["free"]),
    ],
)
def test_what_is_no_rule_is_said_where_it_stands(rules, loc):
    _, errors = clean_rules(rules, SCHEMA)
    assert [error["loc"] for error in errors] == [loc]


def test_missing_required_values_are_no_incompatibility():
    wrong = {"loc": ["b"], "msg": "Input should be a valid integer"}
    assert incompatibilities([{"loc": ["a"], "msg": "Field required"}, wrong]) == [wrong]
