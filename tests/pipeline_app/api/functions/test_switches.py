"""The switches of a function over HTTP, and its end."""

from __future__ import annotations

import pytest

from functions_app.models import Function, FunctionVersion, UserValves, Valves
from tests.builders import make_function, make_model

ID = "/api/v1/functions/id/{}"
FILTER = "class Filter:\n    def inlet(self, body):\n        return body\n"
VALVES = (
    "from pydantic import BaseModel\n\nclass Pipe:\n    class Valves(BaseModel):\n        size: int = 1\n"
    "    class UserValves(BaseModel):\n        mood: str = ''\n    def pipe(self, body):\n        return 'hi'\n"
)


@pytest.mark.parametrize(("path", "field"), [("/toggle", "is_active"), ("/toggle/global", "is_global")])
def test_a_switch_turns_over_and_back(api, base_packages, changed, path, field):
    make_function("mask", FILTER, is_active=False)
    path = ID.format("mask") + path
    answers = [api.post(path) for _ in range(3)]
    assert [answer.json[field] for answer in answers] == [True, False, True]
    assert getattr(Function.objects.get(), field) is True
    assert answers[0].json["content"] == FILTER
    assert "etag" in answers[0].headers


@pytest.mark.parametrize(("path", "field"), [("/toggle", "is_active"), ("/toggle/global", "is_global")])
def test_a_body_says_to_which_side(api, base_packages, changed, path, field):
    make_function("mask", FILTER, is_active=False)
    path = ID.format("mask") + path
    assert [api.post(path, {field: side}).json[field] for side in (True, True, False, False)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert api.post(path, {}).json[field] is True
    answer = api.post(path, {field: "yes"})
    assert (answer.status, answer.error["param"]) == (400, field)
    assert api.request("POST", path, content=b"[]").status == 400


def test_a_switched_on_function_answers_the_next_request_and_a_switched_off_one_does_not(api, pipe, changed):
    pipe("greeter", "return 'hi'")
    api.post(ID.format("greeter") + "/toggle")
    changed()
    assert api.chat("greeter").status == 404
    api.post(ID.format("greeter") + "/toggle")
    changed()
    assert api.chat("greeter").content == "hi"


def test_there_is_nothing_to_switch_on_where_nothing_is_live(api, base_packages, changed):
    make_function("sketch", FILTER, publish=False, is_active=False)
    answer = api.post(ID.format("sketch") + "/toggle")
    assert (answer.status, answer.error["code"]) == (409, "not_live")
    assert answer.error["message"] == "Function 'sketch' has no live version to switch on; publish one first."
    assert Function.objects.get().is_active is False


# --- Its end ------------------------------------------------------------------------------------------


def test_a_function_is_deleted_with_all_that_belongs_to_it(api, base_packages, bob, changed):
    function = make_function("greeter", VALVES, valves={"size": 3})
    UserValves.objects.set_values(function, bob, {"mood": "merry"})
    model = make_model("preset", "greeter", filters=[make_function("mask", FILTER)])
    changed()
    answer = api.request("DELETE", ID.format("greeter") + "/delete")
    assert (answer.status, answer.json) == (200, True)
    assert not Function.objects.filter(pk="greeter").exists()
    assert FunctionVersion.objects.count() == 1
    assert (Valves.objects.count(), UserValves.objects.count()) == (0, 0)
    api.request("DELETE", ID.format("mask") + "/delete")
    assert model.filters.count() == 0
    changed()
    assert api.chat("greeter").status == 404
    assert api.request("DELETE", ID.format("greeter") + "/delete").status == 404


def test_an_id_is_free_again_after_its_function_was_deleted(api, pipe, changed):
    pipe("greeter", "return 'old'")
    assert api.chat("greeter").content == "old"
    api.request("DELETE", ID.format("greeter") + "/delete")
    api.post(
        "/api/v1/functions/create",
        {"id": "greeter", "content": "class Pipe:\n    def pipe(self):\n        return 'new'\n"},
    )
    api.post(ID.format("greeter") + "/toggle")
    changed()
    assert api.chat("greeter").content == "new"
