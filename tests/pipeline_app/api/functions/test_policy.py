"""The policy of a function over HTTP."""

from __future__ import annotations

import pytest

POLICY = "/api/v1/functions/id/{}/policy"


def test_a_policy_shows_what_holds_and_what_is_stored(api, pipe):
    pipe("greeter", "return 'hi'", policy={"network": "none"})
    policy = api.get(POLICY.format("greeter")).json
    assert policy["network"] == "none"
    assert policy["memory_mb"] == 512
    assert policy["time_limit"]["pipe"] == 300
    assert policy["stored"] == {"network": "none"}


def test_a_policy_is_changed_field_by_field_and_null_is_the_default(api, pipe):
    function = pipe("greeter", "return 'hi'", policy={"network": "none"})
    changed = api.post(POLICY.format("greeter"), {"memory_mb": 256, "allow": ["127.0.0.1:8000"]}).json
    assert changed["stored"] == {"network": "none", "memory_mb": 256, "allow": ["127.0.0.1:8000"]}
    assert changed["memory_mb"] == 256
    changed = api.post(POLICY.format("greeter"), {"network": None}).json
    assert changed["network"] == "public"
    function.refresh_from_db()
    assert function.policy == {"memory_mb": 256, "allow": ["127.0.0.1:8000"]}


def test_a_changed_policy_holds_for_the_next_request(api, pipe, changed):
    pipe("sleeper", "import time\ntime.sleep(0.5)\nreturn 'done'")
    assert api.chat("sleeper").status == 200
    api.post(POLICY.format("sleeper"), {"time_limit": 0.05})
    changed()
    assert api.chat("sleeper").error["code"] == "time_limit"


@pytest.mark.parametrize(
    ("partial", "param", "sentence"),
    [
        ({"memory_mb": 1}, "memory_mb", "memory_mb: Must be a whole number of at least 128."),
        ({"network": "mars"}, "network", "network: Must be one of none, public, open."),
        ({"colour": "red"}, "colour", "colour: A policy has no field 'colour'; it has on_error, "),
        ({"allow": ["a b"]}, "allow", "allow: 'a b' is not a host, host:port, *.domain or CIDR."),
    ],
)
def test_a_wrong_policy_is_a_sentence_and_changes_nothing(api, pipe, partial, param, sentence):
    function = pipe("greeter", "return 'hi'")
    answer = api.post(POLICY.format("greeter"), {"threads": 7, **partial})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_policy", param)
    assert answer.error["message"].startswith(sentence)
    function.refresh_from_db()
    assert function.policy == {}


def test_a_policy_that_is_no_object_is_refused(api, pipe):
    pipe("greeter", "return 'hi'")
    answer = api.request("POST", POLICY.format("greeter"), content=b"[]")
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
