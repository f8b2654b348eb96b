"""Which toggle filters are on for whom."""

from __future__ import annotations

import pytest

from functions_app.models import FilterSwitches
from tests.builders import make_function, make_model

pytestmark = pytest.mark.django_db

PATH = "/api/v1/users/me/filters"
FILTER = """
class Filter:
    def __init__(self):
        self.toggle = True
        self.icon = "data:image/png;base64,xx"

    def inlet(self, body):
        body["messages"][-1]["content"] += " {word}"
        return body
"""


@pytest.fixture
def echo(pipe, changed):
    """A pipe that says what it was asked, and the toggle filters "loud" and "soft", each of which adds its word."""
    for name in ("loud", "soft"):
        source = FILTER.replace("{word}", name)
        make_function(name, source, is_global=True, name=name.title(), meta={"description": f"Makes it {name}."})
    pipe("echo", "return body['messages'][-1]['content']")


def switch(client, **filters):
    answer = client.post(PATH, {"filters": filters})
    assert answer.status == 200, answer.text
    return answer.json["filters"]


def said(client, changed, model="echo", **more):
    changed()
    answer = client.chat(model, "hi", **more)
    assert answer.status == 200, answer.text
    return answer.content


def test_a_switch_holds_for_its_user_and_a_request_that_names_filters_wins(api, bobs_api, echo, changed):
    assert switch(bobs_api, **{"*": ["loud"]}) == {"*": ["loud"]}
    assert said(bobs_api, changed) == "hi loud"
    assert said(api, changed) == "hi"
    assert said(bobs_api, changed, filter_ids=[]) == "hi"
    assert said(bobs_api, changed, filter_ids=["soft"]) == "hi soft"


def test_what_is_kept_for_a_model_wins_over_all_models_and_null_removes_it(bobs_api, echo, changed):
    make_model("preset", "echo")
    switch(bobs_api, **{"*": ["loud"], "preset": ["soft", "soft"]})
    assert said(bobs_api, changed, "preset") == "hi soft"
    assert switch(bobs_api, preset=[]) == {"*": ["loud"], "preset": []}
    assert said(bobs_api, changed, "preset") == "hi"
    assert switch(bobs_api, preset=None, nobody=None) == {"*": ["loud"]}
    assert said(bobs_api, changed, "preset") == "hi loud"


def test_the_models_own_defaults_hold_for_who_has_no_switches(api, bobs_api, echo, changed):
    from functions_app.models import Function

    make_model("preset", "echo", default_filters=Function.objects.filter(pk="soft"))
    assert said(bobs_api, changed, "preset") == "hi soft"
    switch(bobs_api, **{"*": []})
    assert said(bobs_api, changed, "preset") == "hi"
    assert said(api, changed, "preset") == "hi soft"


def test_the_filters_that_there_are_are_listed(bobs_api, echo):
    make_function("always", FILTER.replace("self.toggle = True", "pass"), is_global=True)
    make_function("off", FILTER, is_active=False)
    answer = bobs_api.get(PATH)
    assert answer.json["filters"] == {}
    assert [entry["id"] for entry in answer.json["available"]] == ["loud", "soft"]
    assert answer.json["available"][0] == {
        "id": "loud",
        "name": "Loud",
        "description": "Makes it loud.",
        "icon": "data:image/png;base64,xx",
        "has_user_valves": False,
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"filters": {"*": ["nobody"]}}, "*: There is no active filter 'nobody' with a toggle; there are: loud, soft."),
        ({"filters": {"*": ["off"]}}, "*: There is no active filter 'off' with a toggle; there are: loud, soft."),
        ({"filters": {"*": "loud"}}, "*: This must be a list of ids of filters, or null."),
        ({"filters": {"*": [1]}}, "*: This must be a list of ids of filters, or null."),
        ({"filters": {"": []}}, ": The name of a model has 1 to 300 characters."),
        ({"filters": {"m" * 301: []}}, f"{'m' * 80}: The name of a model has 1 to 300 characters."),
        ({"filters": {"a\0": []}}, "a\0: The name of a model has a NUL character in line 1; remove it."),
        ({"filters": []}, "'filters' must be an object."),
        ({}, "'filters' must be an object."),
        ({"*": []}, "There is no field '*'; there is filters."),
        ({"filters": {"*": ["loud"], **{str(n): [] for n in range(200)}}},
         "*: There can be switches for at most 200 models; remove some with null."),
    ],
)  # fmt: skip
def test_what_cannot_be_switched_is_refused_and_nothing_is_stored(bobs_api, echo, body, message):
    make_function("off", FILTER, is_active=False)
    answer = bobs_api.post(PATH, body)
    assert (answer.status, answer.error["message"]) == (400, message)
    assert not FilterSwitches.objects.exists()
    assert bobs_api.request("POST", PATH, content=b'{"filters": {"\\ud800": []}}').status == 400


def test_a_filter_that_disappears_is_passed_over(bobs_api, echo, changed):
    from functions_app.models import Function

    switch(bobs_api, **{"*": ["loud", "soft"]})
    Function.objects.get(pk="loud").delete()
    assert said(bobs_api, changed) == "hi soft"
    assert bobs_api.get(PATH).json["filters"] == {"*": ["soft"]}


def test_it_needs_the_permission_to_use_functions(bobs_api, echo, settings, changed):
    settings.FUNCTIONS_EVERYBODY = []
    changed()
    assert [bobs_api.get(PATH).status, bobs_api.post(PATH, {"filters": {}}).status] == [403, 403]
