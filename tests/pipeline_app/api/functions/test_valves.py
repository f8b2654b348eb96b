"""What people set for a function over HTTP, and what they may not."""

from __future__ import annotations

import pytest

from functions_app.models import Model, UserValves, Valves
from tests.builders import make_function, make_version

pytestmark = pytest.mark.django_db

SOURCE = """
import json
from typing import Literal, Optional

from pydantic import BaseModel, Field, SecretStr, field_validator


class Login(BaseModel):
    host: str
    password: str = ""


class Pipe:
    class Valves(BaseModel):
        API_KEY: str = Field("sk-of-the-code", description="Where you pay.")
        pin: str = Field("", json_schema_extra={"input": {"type": "password"}})
        hidden: SecretStr = SecretStr("")
        logins: list[Login] = []
        size: int = Field(3, ge=1, le=100)
        url: str = "http://x"

        @field_validator("API_KEY")
        @classmethod
        def check(cls, value):
            if "bad" in value:
                raise ValueError(f"{value} is no key")
            return value

    class UserValves(BaseModel):
        tone: str = Field("plain", json_schema_extra={"input": {"type": "select", "options": "tones"}})
        own_token: Optional[str] = None
        words: int = 10

        @classmethod
        def tones(cls, __user__=None):
            return ["plain", __user__["name"]]

    def __init__(self):
        self.valves = self.Valves()

    def pipe(self, body, __user__=None):
        told = self.valves.model_dump() | {"hidden": self.valves.hidden.get_secret_value()}
        return json.dumps({"valves": told, "user": __user__["valves"].model_dump()})
"""

PATH = "/api/v1/functions/id/helper/valves"
MASK = "********"


@pytest.fixture
def helper(api, changed):
    function = make_function("helper", SOURCE)
    changed()
    return function


def seen(client, changed):
    """What the function sees in a call."""
    import json

    changed()
    answer = client.chat("helper")
    assert answer.status == 200, answer.text
    return json.loads(answer.content)


def sent(client, path, body, status=200):
    answer = client.post(PATH + path, body)
    assert answer.status == status, answer.text
    return answer.json


# --- Administrators' values ----------------------------------------------------------------------------------------


def test_an_update_replaces_what_is_set_and_the_answer_is_what_is_set_now(api, helper, changed):
    assert api.get(PATH).json == {}
    assert sent(api, "/update", {"size": "5", "url": "http://y", "unknown": 1}) == {"size": 5, "url": "http://y"}
    assert sent(api, "/update", {"size": 6, "url": None}) == {"size": 6}
    assert api.get(PATH).json == {"size": 6}
    assert seen(api, changed)["valves"]["size"] == 6


def test_a_secret_is_never_read_back_and_stays_when_it_is_absent_empty_or_masked(api, helper):
    secrets = {"API_KEY": "sk-1", "pin": "1234", "hidden": "psst"}
    masked = dict.fromkeys(secrets, MASK)
    assert sent(api, "/update", {**secrets, "size": 5}) == {**masked, "size": 5}
    for given in ({}, dict.fromkeys(secrets, ""), masked):
        assert sent(api, "/update", given) == masked
        assert Valves.objects.get().values == secrets
    assert sent(api, "/update", {"pin": None, "hidden": "other"}) == {"API_KEY": MASK, "hidden": MASK}
    assert Valves.objects.get().values == {"API_KEY": "sk-1", "hidden": "other"}


def test_secrets_inside_of_lists_follow_their_items(api, helper):
    one, two = {"host": "one", "password": "p1"}, {"host": "two", "password": "p2"}
    shown = sent(api, "/update", {"logins": [one, two]})["logins"]
    assert shown == [{"host": "one", "password": MASK}, {"host": "two", "password": MASK}]
    sent(api, "/update", {"logins": [shown[1], {"host": "three", "password": "p3"}, shown[0]]})
    assert Valves.objects.get().values["logins"] == [two, {"host": "three", "password": "p3"}, one]
    sent(api, "/update", {"logins": [shown[0]]})
    assert Valves.objects.get().values["logins"] == [one]
    refused = sent(api, "/update", {"logins": [{"host": "new", "password": MASK}, shown[0]]}, 400)["error"]
    assert (refused["code"], refused["param"]) == ("invalid_valves", "logins.0")
    assert "cannot be told after this change of the list; send it" in refused["message"]


def test_no_error_repeats_a_secret(api, helper, caplog):
    answer = api.post(PATH + "/update", {"API_KEY": "sk-bad-1234", "size": "sk-bad-1234"})
    assert answer.status == 400
    assert answer.error["message"] == (
        f"API_KEY: Value error, {MASK} is no key; size: Input should be a valid integer, "
        "unable to parse string as an integer"
    )
    assert answer.json["errors"][0] == {"loc": ["API_KEY"], "msg": f"Value error, {MASK} is no key"}
    assert "sk-bad" not in answer.text + caplog.text


def test_a_stored_value_that_new_code_refuses_does_not_show_in_its_error(api, helper):
    Valves.objects.create(function=helper, values={"API_KEY": "sk-stored-bad"})
    version = make_version(helper, SOURCE + "\n# more\n")
    assert version.state == "broken"
    assert version.error["message"] == (
        f"Current Valves are incompatible with this code: API_KEY: Value error, {MASK} is no key"
    )


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"size": 0}, "size: Input should be greater than or equal to 1", "size"),
        ({"logins": [{}]}, "logins.0.host: Field required", "logins.0.host"),
        ({"url": ["a"]}, "url: Input should be a valid string", "url"),
        ({"logins": [[[]] * 3]}, None, "logins.0"),
        ({"size": 10**400}, None, "size"),
    ],
)
def test_wrong_values_are_refused_with_a_sentence_and_nothing_is_stored(api, helper, body, message, param):
    refused = sent(api, "/update", body, 400)["error"]
    assert (refused["code"], refused["param"]) == ("invalid_valves", param)
    assert message is None or refused["message"] == message
    assert not Valves.objects.exists()


def test_deep_long_and_odd_values_are_no_trouble(api, helper):
    deep: list = []
    for _ in range(200):
        deep = [deep]
    assert (
        sent(api, "/update", {"logins": deep}, 400)["error"]["message"] == "valves: The values are nested too deeply."
    )
    refused = sent(api, "/update", {"url": "x" * 1_000_001}, 400)["error"]["message"]
    assert refused == "valves: The values are longer than 1000000 characters."
    answer = api.request("POST", PATH + "/update", content=b'{"url": "a\\u0000\\ud800b", "\\u0000": 1}')
    assert answer.status in (200, 400)
    assert api.request("POST", PATH + "/update", content=b"[1]").status == 400


def test_the_spec_has_choices_that_the_function_computes_and_no_secret_for_who_may_not_see_the_code(
    api, bobs_api, bob, helper
):
    spec = api.get(PATH + "/spec").json
    assert spec["properties"]["size"]["maximum"] == 100
    assert spec["properties"]["API_KEY"]["default"] == "sk-of-the-code"
    own = bobs_api.get(PATH + "/user/spec").json
    assert own["properties"]["tone"]["input"] == {"type": "select", "options": ["plain", "bob"]}
    _allow(bob, "change_valves")
    assert bobs_api.get(PATH + "/spec").json["properties"]["API_KEY"]["default"] == MASK


def test_a_function_without_valves_has_an_empty_set_and_no_spec(api, pipe):
    pipe("plain", "return 'x'")
    base = "/api/v1/functions/id/plain/valves"
    assert (api.get(base).json, api.get(base + "/spec").json, api.get(base + "/user/spec").json) == ({}, None, None)
    answer = api.post(base + "/update", {"a": 1})
    assert (answer.status, answer.error["code"], answer.error["message"]) == (400, "no_valves", "plain has no valves.")
    answer = api.post(base + "/rules", {"valves": {"a": {"fixed": 1}}})
    assert (answer.status, answer.error["code"]) == (400, "no_valves")
    assert api.post(base + "/rules", {"valves": {}}).json == {"valves": {}, "user_valves": {}}


def test_valves_under_a_lost_key_are_an_error_and_are_not_lost(api, helper, settings):
    from cryptography.fernet import Fernet

    Valves.objects.create(function=helper, values={"size": 5})
    old, settings.VALVE_KEYS = settings.VALVE_KEYS, [Fernet.generate_key().decode()]
    for answer in (api.get(PATH), api.post(PATH + "/update", {"size": 6})):
        assert (answer.status, answer.error["code"]) == (503, "function_unavailable")
    settings.VALVE_KEYS = old
    assert api.get(PATH).json == {"size": 5}


# --- Users' values -------------------------------------------------------------------------------------------------


def test_each_user_sets_values_of_their_own_and_secrets_stay_secret(api, bobs_api, bob, helper, changed):
    assert sent(bobs_api, "/user/update", {"tone": "loud", "own_token": "t-1"}) == {"tone": "loud", "own_token": MASK}
    assert sent(bobs_api, "/user/update", {"words": 3}) == {"words": 3, "own_token": MASK}
    assert (api.get(PATH + "/user").json, bobs_api.get(PATH + "/user").json) == ({}, {"words": 3, "own_token": MASK})
    assert seen(bobs_api, changed)["user"] == {"tone": "plain", "own_token": "t-1", "words": 3}
    assert seen(api, changed)["user"] == {"tone": "plain", "own_token": None, "words": 10}
    assert {row.user for row in UserValves.objects.all()} == {bob}


def test_valves_of_ones_own_are_for_active_functions(api, bobs_api, helper):
    helper.is_active = False
    helper.save(update_fields=["is_active"])
    answer = api.post(PATH + "/user/update", {"words": 3})
    assert (answer.status, answer.error["code"]) == (400, "function_not_active")
    assert api.get(PATH + "/user/spec").json is None
    # Who may not see functions is not told that there is one.
    for answer in (
        bobs_api.get(PATH + "/user"),
        bobs_api.get(PATH + "/user/spec"),
        bobs_api.post(PATH + "/user/update", {}),
    ):
        assert (answer.status, answer.error["message"]) == (404, "There is no function 'helper'.")


def test_a_user_cannot_store_without_end(bobs_api, helper):
    answer = bobs_api.post(PATH + "/user/update", {"tone": "x" * 100_001})
    assert (answer.status, answer.error["message"]) == (400, "valves: The values are longer than 100000 characters.")


# --- Who may -------------------------------------------------------------------------------------------------------


def _allow(user, *codenames):
    from django.contrib.auth.models import Permission

    from functions_app import generation

    for codename in codenames:
        user.user_permissions.add(Permission.objects.get(content_type__app_label="functions_app", codename=codename))
    generation.publication().publish(generation.PEOPLE, generation.new_token())


def test_values_need_the_permission_to_configure_and_the_spec_that_or_to_view(bobs_api, bob, helper):
    calls = [
        ("GET", "", {}),
        ("POST", "/update", {"json": {}}),
        ("GET", "/rules", {}),
        ("POST", "/rules", {"json": {}}),
        ("GET", "/spec", {}),
    ]

    def statuses():
        return [bobs_api.request(method, PATH + path, **given).status for method, path, given in calls]

    assert statuses() == [403, 403, 403, 403, 403]
    _allow(bob, "view_function")
    assert statuses() == [403, 403, 403, 403, 200]
    bob.user_permissions.clear()
    _allow(bob, "change_valves")
    assert statuses() == [200, 200, 200, 200, 200]


def test_a_missing_function_is_404(api):
    base = "/api/v1/functions/id/nobody/valves"
    for answer in (
        api.get(base),
        api.post(base + "/user/update", {}),
        api.post(base + "/rules", {}),
        api.get(base + "/user/spec"),
    ):
        assert (answer.status, answer.error["code"]) == (404, "function_not_found")


# --- Rules ---------------------------------------------------------------------------------------------------------


def test_a_rule_holds_where_values_are_set_and_shows_in_the_spec(api, bobs_api, helper):
    rules = {
        "valves": {"size": {"maximum": 10}, "url": {"pattern": "^https?://"}},
        "user_valves": {"tone": {"choices": ["plain", "loud"]}, "words": {"minimum": 2, "maximum": 20}},
    }
    assert sent(api, "/rules", rules) == rules
    assert api.get(PATH + "/rules").json == rules
    assert sent(api, "/update", {"size": 11}, 400)["error"]["message"] == "size: Must be at most 10."
    assert sent(api, "/update", {"url": "ftp://x"}, 400)["error"]["message"] == "url: Must match the pattern ^https?://"
    assert (
        sent(bobs_api, "/user/update", {"tone": "rude"}, 400)["error"]["message"] == "tone: Must be one of plain, loud."
    )
    assert sent(bobs_api, "/user/update", {"words": 1}, 400)["error"]["param"] == "words"
    spec = api.get(PATH + "/spec").json["properties"]
    assert (spec["size"]["minimum"], spec["size"]["maximum"], spec["url"]["pattern"]) == (1, 10, "^https?://")
    own = bobs_api.get(PATH + "/user/spec").json["properties"]
    assert own["tone"]["enum"] == own["tone"]["input"]["options"] == ["plain", "loud"]
    assert sent(api, "/rules", {"valves": {}})["valves"] == {}
    assert sent(api, "/update", {"size": 11}) == {"size": 11}


def test_a_value_that_a_later_rule_forbids_is_not_used(api, bobs_api, helper, changed):
    sent(bobs_api, "/user/update", {"tone": "rude", "words": 500})
    sent(
        api, "/rules", {"user_valves": {"words": {"maximum": 20}, "tone": {"choices": ["a", "plain"], "default": "a"}}}
    )
    assert seen(bobs_api, changed)["user"] == {"tone": "a", "own_token": None, "words": 10}
    assert bobs_api.get(PATH + "/user").json == {}
    sent(bobs_api, "/user/update", {"words": 20})
    assert seen(bobs_api, changed)["user"]["words"] == 20


def test_a_fixed_value_holds_for_everybody_and_shows_as_fixed(api, bobs_api, helper, changed):
    sent(bobs_api, "/user/update", {"words": 5})
    fixed = {"valves": {"size": {"fixed": "7"}}, "user_valves": {"words": {"fixed": 8}}}
    assert sent(api, "/rules", fixed)["valves"] == {"size": {"fixed": 7}}
    assert seen(bobs_api, changed)["user"]["words"] == 8
    assert seen(bobs_api, changed)["valves"]["size"] == 7
    assert (api.get(PATH).json, bobs_api.get(PATH + "/user").json) == ({"size": 7}, {"words": 8})
    shown = bobs_api.get(PATH + "/user/spec").json["properties"]["words"]
    assert (shown["const"], shown["readOnly"]) == (8, True)
    refused = sent(bobs_api, "/user/update", {"words": 9}, 400)["error"]["message"]
    assert refused == "words: An administrator has fixed this value."
    # A client that sends back what it was shown is not refused.
    assert sent(bobs_api, "/user/update", {"words": 8, "tone": "x"}) == {"words": 8, "tone": "x"}
    sent(api, "/rules", {"user_valves": {}})
    assert seen(bobs_api, changed)["user"] == {"tone": "x", "own_token": None, "words": 10}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"nobody": {"fixed": 1}}, "valves.nobody: There is no such field; there are: API_KEY, pin, hidden, logins, size, url."),
        ({"size": {"pattern": "x"}}, "valves.size.pattern: The field is no text but integer."),
        ({"url": {"minimum": 1}}, "valves.url.minimum: The field is no number but string."),
        ({"size": {"minimum": 101}}, "valves.size.minimum: The code's own maximum is 100: no value is left."),
        ({"size": {"minimum": 5, "maximum": 4}}, "valves.size.minimum: The minimum is greater than the maximum."),
        ({"size": {"fixed": 500}}, "valves.size.fixed: Input should be less than or equal to 100"),
        ({"size": {"choices": [3, "x"]}}, "valves.size.choices.1: Input should be a valid integer, unable to parse string as an integer"),
        ({"size": {"choices": [3, 50], "maximum": 9}}, "valves.size.choices: 50: Must be at most 9."),
        ({"size": {"choices": []}}, "valves.size.choices: This must be a list of 1 to 100 values."),
        ({"size": {"maximum": True}}, "valves.size.maximum: This must be a number."),
        ({"size": {"least": 1}}, "valves.size.least: There is no such part of a rule; there are minimum, maximum, choices, pattern, default, fixed."),
        ({"size": 3}, "valves.size: A rule is an object with minimum, maximum, choices, pattern, default, fixed."),
        ({"size": {"maximum": 2}}, 'valves.size: The code\'s own default, 3, breaks this rule. Say in "default" what holds instead.'),
        ({"size": {"maximum": 2, "default": 9}}, "valves.size.default: The rule itself does not allow this: Must be at most 2."),
        ({"url": {"pattern": "("}}, "valves.url.pattern: RE2 does not take this pattern: missing ): (."),
        ({"url": {"pattern": "(?=a)"}}, "valves.url.pattern: RE2 does not take this pattern: invalid perl operator: (?=."),
        ({"pin": {"fixed": "1"}}, "valves.pin.fixed: The field is secret, and rules can be read: set the value itself."),
        ({"url": {"fixed": "a\0"}}, "valves: A text has a NUL character or half of a surrogate pair; remove it."),
        ({"logins": {"fixed": []}}, "valves.logins: There can be no rule on a field that has secrets inside."),
    ],
)  # fmt: skip
def test_rules_that_cannot_hold_are_refused_with_a_sentence(api, helper, rules, message):
    refused = sent(api, "/rules", {"valves": rules}, 400)["error"]
    assert (refused["code"], refused["message"]) == ("invalid_valves", message)
    assert not Valves.objects.exists()


def test_a_rule_that_breaks_what_is_set_is_refused_unless_it_says_itself_what_holds(api, helper, changed):
    sent(api, "/update", {"size": 50})
    refused = sent(api, "/rules", {"valves": {"size": {"maximum": 10}}}, 400)["error"]["message"]
    assert refused == "valves.size: What is set now breaks this rule; change it first. Must be at most 10."
    sent(api, "/rules", {"valves": {"size": {"fixed": 9}}})
    assert seen(api, changed)["valves"]["size"] == 9


def test_a_body_of_rules_names_scopes(api, helper):
    assert sent(api, "/rules", {"nonsense": {}}, 400)["error"]["code"] == "unknown_parameter"
    assert sent(api, "/rules", {"valves": []}, 400)["error"]["message"] == "'valves' must be an object."
    deep: list = []
    for _ in range(200):
        deep = [deep]
    assert sent(api, "/rules", {"valves": {"url": {"fixed": deep}}}, 400)["error"]["code"] == "invalid_valves"


def test_a_pattern_that_would_hang_other_engines_does_not_hang_this_one(api, bobs_api, helper):
    sent(api, "/rules", {"user_valves": {"tone": {"pattern": "^(p+l*a*i*n*)+$"}}})
    assert sent(bobs_api, "/user/update", {"tone": "p" * 1999 + "!"}, 400)["error"]["param"] == "tone"
    refused = sent(bobs_api, "/user/update", {"tone": "p" * 2001}, 400)["error"]["message"]
    assert refused == "tone: Must have at most 2000 characters."


def test_new_code_that_the_rules_do_not_fit_does_not_go_live(api, helper):
    sent(api, "/rules", {"valves": {"size": {"maximum": 10}}})
    version = make_version(helper, SOURCE.replace("size: int = Field(3,", "size: int = Field(30,"))
    assert version.state == "broken"
    assert "The code's own default, 30, breaks this rule." in version.error["message"]
    # A field that is gone leaves its rule without effect.
    version = make_version(helper, SOURCE.replace("        size: int = Field(3, ge=1, le=100)\n", ""))
    assert version.state == "live"
    assert "size" not in api.get(PATH + "/spec").json["properties"]


def test_rules_reach_presets_too(api, bobs_api, helper, changed):
    Model.objects.create(id="preset", name="Preset", base_model_id="helper")
    sent(api, "/rules", {"user_valves": {"words": {"fixed": 8}}})
    changed()
    assert '"words": 8' in bobs_api.chat("preset").content


# --- Tries ---------------------------------------------------------------------------------------------------------


def tried(client, **given):
    import json

    answer = client.post("/api/v1/functions/id/helper/run", {"hook": "pipe", **given})
    assert answer.status == 200, answer.text
    return json.loads(answer.json["result"]["content"])


def test_a_try_keeps_to_the_rules_unless_its_caller_may_change_them(api, bobs_api, bob, helper, changed):
    sent(api, "/update", {"API_KEY": "sk-1", "size": 4})
    sent(api, "/rules", {"valves": {"size": {"maximum": 9}, "url": {"fixed": "http://z"}},
                         "user_valves": {"words": {"maximum": 20}, "tone": {"fixed": "calm"}}})  # fmt: skip
    changed()
    found = tried(api)
    assert (found["valves"]["size"], found["valves"]["url"], found["user"]["tone"]) == (4, "http://z", "calm")
    found = tried(api, valves={"size": 50, "url": "http://own", "API_KEY": MASK}, user_valves={"tone": "loud"})
    assert (found["valves"]["size"], found["valves"]["url"], found["user"]["tone"]) == (50, "http://own", "loud")
    assert found["valves"]["API_KEY"] == "sk-1"
    _allow(bob, "change_function", "publish_function")
    refused = bobs_api.post("/api/v1/functions/id/helper/run", {"hook": "pipe", "valves": {"size": 50}})
    assert (refused.status, refused.error["message"]) == (400, "valves.size: Must be at most 9.")
    refused = bobs_api.post("/api/v1/functions/id/helper/run", {"hook": "pipe", "user_valves": {"tone": "loud"}})
    assert (refused.status, refused.error["message"]) == (
        400, "user_valves.tone: An administrator has fixed this value."
    )  # fmt: skip
    found = tried(bobs_api, valves={"size": 9}, user_valves={"words": 7})
    assert (found["valves"]["size"], found["valves"]["url"]) == (9, "http://z")
    assert found["user"] == {"tone": "calm", "own_token": None, "words": 7}
