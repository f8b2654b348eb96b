from __future__ import annotations

from functions_app.valves import defaults, has_dynamic_options, properties, secret_fields, too_deep

DEFS = {"Loop": {"$ref": "#/$defs/Loop"}}


def test_the_codes_defaults_are_those_of_its_schema():
    schema = {"properties": {"a": {"default": []}, "b": {"type": "string"}, "c": {"default": None}}}
    assert defaults(schema) == {"a": [], "c": None}
    assert defaults(schema)["a"] is not schema["properties"]["a"]["default"]


def test_schemas_that_only_look_like_one_are_survived():
    assert properties(None) == properties({"properties": []}) == {}
    broken = {"properties": {"a": {"$ref": "#/nowhere"}, "b": 3, "c": {"$ref": "#/$defs/Loop"}}, "$defs": DEFS}
    assert set(properties(broken)) == {"a", "c"}
    assert secret_fields(broken) == set()
    nested: dict = {"type": "array"}
    nested["items"] = nested
    assert secret_fields({"properties": {"a": nested}}) == set()
    wide: dict = {"anyOf": []}
    wide["anyOf"] = [wide] * 50
    assert secret_fields({"properties": {"a": wide}}) == set()


def test_choices_that_a_method_makes_are_seen():
    assert has_dynamic_options({"properties": {"a": {"input": {"type": "select", "options": "make"}}}})
    assert not has_dynamic_options({"properties": {"a": {"input": {"options": ["x"]}}, "b": {"input": 3}}})


def test_depth_is_measured_without_going_deep():
    value: object = "x"
    for _ in range(39):
        value = [value]
    assert not too_deep(value)
    for _ in range(100_000):
        value = {"a": value}
    assert too_deep(value)
