from __future__ import annotations

import json

import pytest
from django.forms import Form
from django.http import QueryDict

from functions_app.valves_form import BACK, form_class

SCHEMA = {
    "required": ["needed"],
    "properties": {
        "API_KEY": {"type": "string", "default": "", "description": "From your provider."},
        "number": {"type": "integer", "default": 3, "minimum": 1, "maximum": 10, "title": "A number"},
        "optional": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": 0.5},
        "literal": {"enum": ["a", "b"], "type": "string", "default": "a"},
        "color": {"$ref": "#/$defs/Color", "default": "red"},
        "on": {"type": "boolean", "default": True},
        "maybe": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
        "text": {"type": "string", "default": "one\ntwo"},
        "select": {
            "type": "string",
            "default": "x",
            "input": {"type": "select", "options": ["x", {"value": "y", "label": "Why"}]},
        },
        "tags": {"type": "array", "items": {"type": "string"}, "default": ["p"]},
        "numbers": {"type": "array", "items": {"type": "integer"}, "default": [1]},
        "colors": {"type": "array", "items": {"$ref": "#/$defs/Color"}, "default": ["red"]},
        "inner": {"$ref": "#/$defs/Inner", "default": {"a": 1}},
        "union": {"anyOf": [{"type": "integer"}, {"type": "string"}], "default": 3},
        "needed": {"type": "string"},
        "data": {"type": "string", "default": "d"},
        "schema": {"type": "string", "default": "s"},
    },
    "$defs": {
        "Color": {"enum": ["red", "blue"], "type": "string"},
        "Inner": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}


def sent(form: Form, **changes) -> QueryDict:
    """What a browser sends for a form whose boxes were changed as said; None empties or unticks."""
    data = QueryDict(mutable=True)
    for bound in form:
        value = changes.get(bound.name, bound.value())
        if isinstance(value, bool):
            if value:
                data[bound.name] = "on"
        elif isinstance(value, list):
            data.setlist(bound.name, value)
        elif value is not None:
            data[bound.name] = str(value).replace("\n", "\r\n")
    return data


def submit(stored, **changes):
    made = form_class(SCHEMA, stored)
    return made(sent(made(), **changes))


@pytest.mark.parametrize(
    "stored", [{}, {"number": 5, "API_KEY": "sk-1", "text": "a\nb", "gone": 1, "colors": ["blue"]}]
)
def test_an_untouched_form_changes_nothing(stored):
    form = submit(stored)
    assert form.is_valid(), form.errors
    # Secrets that were not touched are not sent: they stay.
    sent_again = {name: value for name, value in stored.items() if name != "API_KEY"}
    assert (form.changed_data, form.values()) == ([], sent_again)


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("number", "7", 7),
        ("literal", '"b"', "b"),
        ("color", '"blue"', "blue"),
        ("on", False, False),
        ("maybe", "true", True),
        ("text", "three\nfour ", "three\nfour "),
        ("text", "", ""),
        ("select", '"y"', "y"),
        ("tags", "p, q\n\n r ", ["p, q", "r"]),
        ("tags", "", []),
        ("numbers", "1\n2", [1, 2]),
        ("colors", ['"red"', '"blue"'], ["red", "blue"]),
        ("inner", '{"a": 2}', {"a": 2}),
        ("union", '"text"', "text"),
        ("needed", "x", "x"),
        ("data", "e", "e"),
        ("schema", "t", "t"),
        ("API_KEY", "sk-2", "sk-2"),
    ],
)
def test_only_what_was_changed_is_set(field, typed, value):
    form = submit({}, **{field: typed})
    assert form.is_valid(), form.errors
    assert form.values() == {field: value}
    assert type(form.values()[field]) is type(value)


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("number", "11", "Ensure this value is less than or equal to 10."),
        ("number", "x", "Enter a whole number."),
        ("literal", '"c"', 'Select a valid choice. "c" is not one of the available choices.'),
        ("numbers", "1\nx", "Write one number a line."),
        ("inner", "{", "This is not JSON: Expecting property name enclosed in double quotes in line 1."),
        ("inner", "[" * 100_000, None),
        ("inner", "NaN", "This is not JSON that can be stored: NaN is not JSON."),
        ("inner", "1" * 5000, None),
        ("text", "a\0b", "Null characters are not allowed."),
    ],
)
def test_wrong_values_are_told_beside_their_field_and_kept(field, typed, message):
    form = submit({}, **{field: typed})
    assert not form.is_valid()
    assert list(form.errors) == [field]
    assert message is None or form.errors[field] == [message]
    if field != "literal" and "\0" not in typed:
        assert typed in str(form[field]).replace("\r\n", "\n")


def test_a_field_goes_back_to_its_default():
    assert (
        submit({"number": 5}, **{"number" + BACK: True}).fields["number" + BACK].label
        == "Back to the default: A number"
    )
    form = submit({"number": 5, "tags": ["z"]}, **{"number" + BACK: True})
    assert form.is_valid() and form.values() == {"tags": ["z"]}
    form = submit({"number": 5}, number="3")
    assert form.is_valid() and form.values() == {}
    form = submit({"number": 5}, number="")
    assert form.is_valid() and form.values() == {}


def test_a_secret_is_never_shown_kept_by_an_empty_box_and_cleared_by_its_own_box():
    stored = {"API_KEY": "sk-very-secret"}
    form = form_class(SCHEMA, stored)()
    assert "sk-very-secret" not in form.as_p()
    assert "A value is set. Leave the box empty to keep it." in form.as_p()
    assert "sk-typed" not in submit(stored, API_KEY="sk-typed").as_p()
    form = submit(stored, **{"API_KEY" + BACK: True})
    assert form.is_valid() and form.values() == {"API_KEY": None}


def test_a_set_value_that_is_no_longer_offered_can_be_kept():
    form = submit({"literal": "old", "colors": ["green"]})
    assert "old (no longer offered)" in str(form["literal"])
    assert form.is_valid() and form.values() == {"literal": "old", "colors": ["green"]}


def test_fields_fixed_by_a_rule_cannot_be_edited():
    made = form_class(SCHEMA, {}, {"number": {"fixed": 4}, "text": {"choices": ["x", "y"]}})
    assert made().fields["number"].disabled
    form = made({**sent(made()).dict(), "number": "9"})
    assert form["number"].value() == 4
    assert [value for value, _ in made().fields["text"].choices] == ['"x"', '"y"', json.dumps("one\ntwo")]


def test_errors_of_the_functions_own_model_land_beside_their_fields():
    form = submit({})
    assert form.is_valid()
    form.explain(
        [{"loc": ["inner", "a"], "msg": "Too small"}, {"loc": ["nowhere"], "msg": "Bad"}, {"loc": [], "msg": "All"}]
    )
    assert form.errors == {"inner": ["a: Too small"], "__all__": ["nowhere: Bad", "All"]}


@pytest.mark.parametrize(
    "prop",
    [
        {"type": "integer", "minimum": "x"},
        {"enum": 3},
        {"type": "array", "items": 5},
        {"type": ["string"]},
        {"type": "string", "maxLength": "z"},
        {"input": 3, "title": None},
        {"input": {"options": [[1], {}]}},
        {},
    ],
)
def test_schemas_that_only_look_like_one_still_make_a_form(prop):
    made = form_class({"properties": {"x": prop, "__init__": prop}, "required": None}, {"x": 1})
    assert "id_x" in made().as_p()
    assert isinstance(made(sent(made())).is_valid(), bool)
