from __future__ import annotations

from functions_app.valves import broken_rules, defaults, effective, incompatibilities, masked, properties, secret_fields

SCHEMA = {
    "properties": {
        "API_KEY": {"type": "string", "default": ""},
        "pin": {"type": "string", "input": {"type": "password"}},
        "hidden": {"anyOf": [{"type": "string", "format": "password", "writeOnly": True}, {"type": "null"}]},
        "login": {"$ref": "#/$defs/Login"},
        "logins": {"type": "array", "items": {"$ref": "#/$defs/Login"}},
        "max_tokens": {"type": "integer", "default": 5},
        "host": {"type": "string", "default": "localhost"},
    },
    "$defs": {
        "Login": {"type": "object", "properties": {"name": {"type": "string"}, "password": {"type": "string"}}},
        "Loop": {"$ref": "#/$defs/Loop"},
    },
}


def test_secrets_are_found_by_name_hint_type_and_inside_of_others():
    assert secret_fields(SCHEMA) == {"API_KEY", "pin", "hidden", "login", "logins"}


def test_set_secrets_are_masked_and_so_is_what_the_schema_does_not_know():
    values = {"API_KEY": "sk-1", "pin": "", "host": "h", "login": {"password": "x"}, "gone": "sk-2"}
    assert masked(SCHEMA, values) == {
        "API_KEY": "********",
        "pin": "",
        "host": "h",
        "login": "********",
        "gone": "********",
    }


def test_set_values_win_over_defaults_and_fixed_ones_over_both():
    assert defaults(SCHEMA) == {"API_KEY": "", "max_tokens": 5, "host": "localhost"}
    found = effective(SCHEMA, {"host": "h", "max_tokens": None}, {"API_KEY": {"fixed": "k"}})
    assert found == {"API_KEY": "k", "max_tokens": 5, "host": "h"}


def test_schemas_that_only_look_like_one_are_survived():
    assert properties(None) == properties({"properties": []}) == {}
    broken = {
        "properties": {"a": {"$ref": "#/nowhere"}, "b": 3, "c": {"$ref": "#/$defs/Loop"}},
        "$defs": SCHEMA["$defs"],
    }
    assert set(properties(broken)) == {"a", "c"}
    assert secret_fields(broken) == set()
    nested: dict = {"type": "array"}
    nested["items"] = nested
    assert secret_fields({"properties": {"a": nested}}) == set()


def test_rules_of_an_admin_give_sentences():
    rules = {"a": {"minimum": 1, "maximum": 3}, "b": {"choices": ["x", "y"]}, "c": {"fixed": 1}}
    assert broken_rules({"a": 2, "b": "x", "c": 1}, rules) == []
    assert broken_rules({"a": 4, "b": "z", "c": 2}, rules) == [
        {"loc": ["a"], "msg": "Must be at most 3."},
        {"loc": ["b"], "msg": "Must be one of x, y."},
        {"loc": ["c"], "msg": "An administrator has fixed this value."},
    ]
    assert broken_rules({"a": 0}, rules) == [{"loc": ["a"], "msg": "Must be at least 1."}]


def test_missing_required_values_are_no_incompatibility():
    wrong = {"loc": ["b"], "msg": "Input should be a valid integer"}
    assert incompatibilities([{"loc": ["a"], "msg": "Field required"}, wrong]) == [wrong]
