from __future__ import annotations

import pytest

from functions_app.valves import (
    MASK,
    is_secret,
    masked,
    public,
    redacted,
    restored,
    secret_fields,
    texts_of_secrets,
    unmasked,
    without_secrets,
)

SECRET = {"type": "string", "format": "password", "writeOnly": True}
SCHEMA = {
    "properties": {
        "API_KEY": {"type": "string", "default": ""},
        "pin": {"type": "string", "input": {"type": "password"}},
        "hidden": {"anyOf": [SECRET, {"type": "null"}]},
        "login": {"$ref": "#/$defs/Login"},
        "logins": {"type": "array", "items": {"$ref": "#/$defs/Login"}},
        "by_name": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Login"}},
        "either": {"anyOf": [{"$ref": "#/$defs/Login"}, {"type": "string"}]},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, SECRET]},
        "several": {"type": "array", "items": SECRET},
        "headers": {"type": "object"},
        "max_tokens": {"type": "integer", "default": 5},
        "host": {"type": "string", "default": "localhost"},
    },
    "$defs": {
        "Login": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "password": {"type": "string"},
                "more": {"$ref": "#/$defs/Login"},
            },
        },
    },
}


def restore(given, stored):
    """What is set after ``given`` was sent over ``stored``; nothing may be unclear."""
    values, errors = restored(SCHEMA, given, stored)
    assert errors == []
    return values


# --- Which values are secrets --------------------------------------------------------------------------------------


def test_secrets_are_found_by_name_hint_type_and_inside_of_others():
    assert secret_fields(SCHEMA) == {
        "API_KEY", "pin", "hidden", "login", "logins", "by_name", "either", "pair", "several"
    }  # fmt: skip
    assert {name for name in SCHEMA["properties"] if is_secret(SCHEMA, name)} == {"API_KEY", "pin", "hidden"}


@pytest.mark.parametrize(
    "name",
    ["key", "OPENAI_API_KEY", "apiKey", "APIKey", "openaiKey", "api_keys", "ACCESS_TOKEN", "tokens", "clientSecret",
     "secret_name", "PASSWORD", "dbPassword", "smtp_passwd", "passphrase", "credentials", "token_2", "authtoken", "accesskey"],
)  # fmt: skip
def test_a_name_that_says_so_makes_a_secret(name):
    assert is_secret({"properties": {name: {"type": "string"}}}, name)
    assert is_secret({"properties": {name: {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, name)
    assert is_secret({"properties": {name: {}}}, name)
    assert not is_secret({"properties": {name: {"type": "boolean"}}}, name)
    assert not is_secret({"properties": {name: {"type": "string", "enum": ["a", "b"]}}}, name)


@pytest.mark.parametrize(
    "name", ["keyboard", "monkey", "tokenizer", "secretary", "keywords", "host", "turkey_temperature"]
)
def test_a_name_that_only_sounds_so_makes_none(name):
    assert not is_secret({"properties": {name: {"type": "string"}}}, name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "maxTokens", "max_output_tokens", "MAX_TOKENS"),
        *("token_limit", "token_budget", "tokens_per_minute"),
        *("sort_key", "sort_keys", "primary_key", "cache_key", "partitionKey"),
    ],
)
def test_a_name_that_plainly_means_an_amount_or_a_key_of_data_makes_none(name):
    assert not is_secret({"properties": {name: {"type": "string"}}}, name)
    assert not is_secret({"properties": {name: {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, name)


@pytest.mark.parametrize(
    "name", ["token", "tokens", "access_tokens", "token_value", "key", "api_sort_key_token", "max_token", "json_key"]
)
def test_a_name_that_may_mean_a_secret_makes_one(name):
    assert is_secret({"properties": {name: {"type": "string"}}}, name)


def test_what_is_plainly_no_secret_by_name_is_one_where_the_code_says_so():
    assert is_secret({"properties": {"sort_key": SECRET}}, "sort_key")


def test_a_secret_of_one_character_is_not_struck_out_of_every_sentence():
    assert redacted("Input should be a valid integer", {"a"}) == "Input should be a valid integer"


def test_numbers_are_secrets_where_they_can_be_nothing_else():
    def number(name):
        return is_secret({"properties": {name: {"type": "integer"}}}, name)

    assert number("password") and number("SECRET")
    assert not number("max_tokens") and not number("token_limit") and not number("primary_key")


# --- Out of sight --------------------------------------------------------------------------------------------------


def test_set_secrets_are_masked_wherever_they_stand_and_so_is_what_the_schema_does_not_know():
    login = {"name": "n", "password": "x"}
    hidden = {"name": "n", "password": MASK}
    values = {
        "API_KEY": "sk-1",
        "pin": "",
        "host": "h",
        "login": {**login, "more": login},
        "logins": [login],
        "by_name": {"a": login},
        "either": login,
        "pair": ["p", "q"],
        "several": ["a", ""],
        "headers": {"X-Api-Key": "k", "Accept": "json", "deep": [{"token": "t"}]},
        "gone": "sk-2",
        "gone_too": {"a": 1},
        "max_tokens": 5,
    }
    assert masked(SCHEMA, values) == {
        "API_KEY": MASK,
        "pin": "",
        "host": "h",
        "login": {**hidden, "more": hidden},
        "logins": [hidden],
        "by_name": {"a": hidden},
        "either": hidden,
        "pair": ["p", MASK],
        "several": [MASK, ""],
        "headers": {"X-Api-Key": MASK, "Accept": "json", "deep": [{"token": MASK}]},
        "gone": MASK,
        "gone_too": MASK,
        "max_tokens": 5,
    }
    assert public(SCHEMA, values) == {
        "host": "h",
        "login": {"name": "n", "more": {"name": "n"}},
        "logins": [{"name": "n"}],
        "by_name": {"a": {"name": "n"}},
        "either": {"name": "n"},
        "max_tokens": 5,
    }
    # An object that lost one of its free keys would take that away where it is set.
    assert public(SCHEMA, {"headers": {"Accept": "json"}}) == {"headers": {"Accept": "json"}}
    assert restored(SCHEMA, public(SCHEMA, values), values)[0]["headers"] == values["headers"]


def test_without_a_schema_everything_is_out_of_sight():
    assert masked(None, {"a": "x", "b": ""}) == {"a": MASK, "b": ""}
    assert public(None, {"a": "x"}) == {}


def test_a_spec_shows_no_secret_that_is_a_default():
    schema = {
        "properties": {
            "API_KEY": {"type": "string", "default": "sk-1", "examples": ["sk-2"]},
            "empty_key": {"type": "string", "default": ""},
            "login": {"$ref": "#/$defs/Login", "default": {"name": "n", "password": "p"}},
            "host": {"type": "string", "default": "h"},
        },
        "$defs": {"Login": {"properties": {"password": {"type": "string", "default": "q"}, "name": {"default": "n"}}}},
    }
    shown = without_secrets(schema)
    assert shown["properties"]["API_KEY"] == {"type": "string", "default": MASK, "examples": [MASK]}
    assert shown["properties"]["empty_key"]["default"] == ""
    assert shown["properties"]["login"]["default"] == {"name": "n", "password": MASK}
    assert shown["properties"]["host"] == schema["properties"]["host"]
    assert shown["$defs"]["Login"]["properties"]["password"]["default"] == MASK
    assert schema["properties"]["API_KEY"]["default"] == "sk-1"


def test_secrets_are_taken_out_of_texts():
    values = {
        "API_KEY": "sk-1234",
        "login": {"name": "n", "password": "a\nb"},
        "pin": "12",
        "host": "h",
        "gone": "old-1",
    }
    secrets = texts_of_secrets(SCHEMA, values)
    said = redacted("sk-1234 and 'a\\nb', 12 of 123 at h; old-1", secrets)
    assert said == f"{MASK} and '{MASK}', {MASK} of 123 at h; {MASK}"


# --- Secrets that come back ----------------------------------------------------------------------------------------


def test_what_a_secret_type_writes_as_asterisks_stays_as_it_was_given():
    stars = "**********"
    assert unmasked({"a": stars, "b": [stars, 1]}, {"a": "x", "b": ["y", "1"]}) == {"a": "x", "b": ["y", 1]}
    assert unmasked(stars, 5) == 5
    # A model that makes a list of a text gets the text again.
    assert unmasked({"a": [stars, stars], "b": 1}, {"a": "x,y", "b": "1"}) == {"a": "x,y", "b": 1}
    assert unmasked({"a": {"in": stars}}, {"a": {"IN": "x"}}) == {"a": {"IN": "x"}}


def test_what_is_given_replaces_what_is_stored_and_none_resets():
    assert restore({"host": "b", "max_tokens": None}, {"host": "a", "max_tokens": 3}) == {"host": "b"}
    assert restore({}, {"host": "a", "headers": {"Accept": "x"}}) == {}


@pytest.mark.parametrize("given", [{}, {"API_KEY": ""}, {"API_KEY": MASK}, {"API_KEY": "**********"}])
def test_a_secret_that_is_absent_empty_or_masked_stays(given):
    assert restore(given, {"API_KEY": "sk-1"}) == {"API_KEY": "sk-1"}
    assert restore(given, {}) == {}


def test_a_secret_goes_with_none_and_changes_with_a_value():
    assert restore({"API_KEY": None, "pin": "2"}, {"API_KEY": "sk-1", "pin": "1"}) == {"pin": "2"}


@pytest.mark.parametrize("inner", [{"name": "b"}, {"name": "b", "password": ""}, {"name": "b", "password": MASK}])
@pytest.mark.parametrize("field", ["login", "either"])
def test_a_secret_inside_stays_while_what_stands_beside_it_changes(field, inner):
    stored = {field: {"name": "a", "password": "p", "more": {"password": "q"}}}
    assert restore({field: inner}, stored)[field] == {"name": "b", "password": "p", "more": {"password": "q"}}
    assert restore({}, stored) == stored
    assert restore({field: {"name": "b", "password": None, "more": {"name": "c"}}}, stored)[field] == {
        "name": "b",
        "more": {"name": "c", "password": "q"},
    }
    assert restore({field: None}, stored) == {}


def test_entries_of_an_object_go_when_they_are_left_out_and_keep_their_secrets_else():
    stored = {"by_name": {"a": {"name": "n", "password": "p"}, "b": {"name": "m", "password": "q"}}}
    given = {"by_name": {"b": {"name": "new", "password": MASK}, "c": {"name": "o", "password": "r"}}}
    assert restore(given, stored)["by_name"] == {
        "b": {"name": "new", "password": "q"},
        "c": {"name": "o", "password": "r"},
    }
    _, errors = restored(SCHEMA, {"by_name": {"renamed": {"password": MASK}}}, stored)
    assert errors[0]["loc"] == ["by_name", "renamed"]


ONE, TWO, THREE = ({"name": name, "password": f"p-{name}"} for name in "abc")


def hidden(login, **changes):
    return {**login, "password": MASK, **changes}


@pytest.mark.parametrize(
    ("stored", "given", "after"),
    [
        ([ONE, TWO], [hidden(TWO), hidden(ONE)], [TWO, ONE]),
        ([ONE, TWO], [hidden(TWO)], [TWO]),
        ([ONE, TWO], [THREE, hidden(ONE), hidden(TWO)], [THREE, ONE, TWO]),
        ([ONE, TWO], [hidden(ONE), hidden(TWO, name="z")], [ONE, {**TWO, "name": "z"}]),
        ([ONE, TWO], [{"name": "a"}, {"name": "new"}], [ONE, {"name": "new", "password": "p-b"}]),
        ([ONE], [hidden(ONE), {"name": "new"}], [ONE, {"name": "new"}]),
        ([ONE, ONE], [hidden(ONE)], [ONE]),
        ([ONE, {**ONE, "password": "x"}], [hidden(ONE), hidden(ONE)], [ONE, {**ONE, "password": "x"}]),
    ],
)
def test_secrets_in_lists_go_with_their_items(stored, given, after):
    assert restore({"logins": given}, {"logins": stored}) == {"logins": after}


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ([ONE, TWO], [hidden(TWO), hidden(ONE, name="z")]),
        ([ONE, TWO], [hidden(TWO, name="z")]),
        ([ONE], [hidden(ONE), hidden(ONE, name="copy")]),
        ([], [hidden(ONE)]),
    ],
)
def test_a_mask_that_could_stand_for_another_items_secret_is_refused(stored, given):
    _, errors = restored(SCHEMA, {"logins": given}, {"logins": stored})
    assert len(errors) == 1
    assert errors[0]["loc"][0] == "logins"
    assert errors[0]["msg"].startswith("Which stored secret the mask stands for cannot be told")


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ([MASK, MASK], ["a", "b"]),
        ([MASK, "new"], ["a", "new"]),
        (["new", MASK, MASK], ["new", "a", "b"]),
        (["x"], ["x"]),
        ([], []),
        ([MASK], None),
        ([MASK, MASK, MASK], None),
    ],
)
def test_lists_of_secrets_go_by_position_as_far_as_that_is_certain(given, after):
    values, errors = restored(SCHEMA, {"several": given}, {"several": ["a", "b"]})
    assert (values["several"] == after and not errors) if after is not None else errors


def test_a_secret_that_is_hidden_as_a_whole_is_not_taken_in_parts():
    schema = {"properties": {"api_keys": {"type": "array", "items": {"type": "string"}}}}
    assert restored(schema, {"api_keys": MASK}, {"api_keys": ["a"]}) == ({"api_keys": ["a"]}, [])
    assert restored(schema, {"api_keys": []}, {"api_keys": ["a"]}) == ({"api_keys": ["a"]}, [])
    _, errors = restored(schema, {"api_keys": [MASK, "b"]}, {"api_keys": ["a"]})
    assert errors == [
        {"loc": ["api_keys"], "msg": "This secret is hidden as a whole: send all of it, or only the mask."}
    ]


def test_asterisks_that_are_no_secret_are_a_value():
    assert restore({"host": MASK}, {"host": "a"}) == {"host": MASK}
    assert restore({"gone": MASK, "other": MASK}, {"gone": "x"}) == {"gone": "x"}


def test_long_lists_and_models_that_contain_themselves_take_no_time():
    many = [{"name": "n"}] * 20_000
    assert len(restore({"logins": many}, {"logins": many[1:]})["logins"]) == 20_000
    fields = {f"field{number}": {"$ref": "#/$defs/Tree"} for number in range(30)}
    schema = {"properties": {"tree": {"$ref": "#/$defs/Tree"}}, "$defs": {"Tree": {"properties": fields}}}
    assert secret_fields(schema) == set()


def test_where_there_are_very_many_secrets_no_reason_is_told():
    assert redacted("x", {str(number) for number in range(501)}) == "This is refused; the reason might repeat a secret."
