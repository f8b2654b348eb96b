"""Functions created over HTTP: saved and live at once, or not there at all."""

from __future__ import annotations

import json

import pytest

from functions_app.models import Function, FunctionVersion
from tests.builders import make_function

CREATE = "/api/v1/functions/create"
SOURCE = '''"""
title: Greeter
"""


class Pipe:
    def pipe(self, body):
        return "hi"
'''
RESPONSE = ["version_id", "id", "user_id", "type", "name", "meta", "is_active", "is_global", "updated_at", "created_at"]


def test_what_is_created_is_live_and_switched_off(api, alice):
    answer = api.post(
        CREATE,
        {
            "id": "Greeter",
            "name": "The Greeter",
            "content": SOURCE,
            "meta": {"description": "Greets.", "manifest": {"title": "forged"}, "toggle": True, "team": "blue"},
            "commit_message": "first",
        },
    )
    assert answer.status == 200
    assert list(answer.json) == [*RESPONSE, "number", "state"]
    function = Function.objects.get(pk="greeter")
    assert function.live is not None
    told = answer.json
    assert (told["id"], told["type"], told["name"]) == ("greeter", "pipe", "The Greeter")
    assert told["meta"] == {
        "description": "Greets.",
        "manifest": {"title": "Greeter"},
        "toggle": False,
        "team": "blue",
    }
    assert (told["is_active"], told["is_global"], told["state"], told["number"]) == (False, False, "live", 1)
    assert (told["version_id"], told["user_id"]) == (str(function.live.pk), str(alice.pk))
    assert function.meta == {"description": "Greets.", "team": "blue"}
    assert (function.live.source, function.live.note, function.live.author) == (SOURCE, "first", alice)
    assert function.live.manifest["kind"] == function.kind == "pipe"
    assert function.live.asked_at is not None


def test_a_created_function_answers_when_it_is_switched_on(api, changed):
    api.post(CREATE, {"id": "greeter", "content": SOURCE})
    api.post("/api/v1/functions/id/greeter/toggle")
    changed()
    assert api.chat("greeter").content == "hi"


def test_name_and_facts_may_be_left_out(api):
    assert api.post(CREATE, {"id": "greeter", "content": SOURCE}).json["name"] == "Greeter"


def test_what_an_export_carries_beside_is_passed_over(api):
    entry = {
        "version_id": "no version at all", "id": "greeter", "user_id": "someone", "name": "Greeter", "type": "filter",
        "content": SOURCE, "meta": {}, "is_active": True, "is_global": True, "updated_at": 1, "created_at": "x",
    }  # fmt: skip
    told = api.post(CREATE, entry).json
    assert (told["type"], told["is_active"], told["is_global"]) == ("pipe", False, False)


def test_code_that_does_not_load_stores_nothing_and_names_the_line(api):
    answer = api.post(CREATE, {"id": "broken", "content": SOURCE + "\nraise ValueError('no luck')\n"})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "load_failed", "content")
    assert answer.error["message"] == answer.json["detail"] == "no luck (line 10). Nothing was stored."
    error = answer.json["load_error"]
    assert (error["type"], error["message"], error["line"]) == ("ValueError", "no luck", 10)
    assert "raise ValueError('no luck')" in error["traceback"]
    assert not Function.objects.exists()
    assert not FunctionVersion.objects.exists()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def (:", "invalid syntax"),
        ("x = 1\n", "No Pipe, Filter, Action or Event class was found."),
        ('"""\nrequirements: !!!\n"""\nclass Pipe:\n    pass\n', "The requirement '!!!' in the frontmatter"),
    ],
)
def test_every_kind_of_code_that_does_not_load_is_a_sentence(api, source, sentence):
    answer = api.post(CREATE, {"id": "broken", "content": source})
    assert answer.status == 400
    assert sentence in answer.error["message"]
    assert not Function.objects.exists()


def test_an_id_that_is_taken_is_a_conflict_and_changes_nothing(api, base_packages, changed):
    make_function("greeter", SOURCE)
    answer = api.post(CREATE, {"id": "GREETER", "name": "Other", "content": "class Pipe:\n    pass\n"})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (409, "id_taken", "id")
    assert answer.error["message"] == "The id 'greeter' is already taken; choose another."
    assert Function.objects.get().name == "Greeter"


def test_who_may_not_publish_makes_a_draft_of_code_that_loads(author):
    api = author("change_function")
    answer = api.post(CREATE, {"id": "greeter", "content": SOURCE})
    assert (answer.status, answer.json["state"], answer.json["type"]) == (200, "draft", "pipe")
    function = Function.objects.get()
    assert (function.live, function.newest.state, function.newest.manifest["kind"]) == (None, "draft", "pipe")
    answer = api.post(CREATE, {"id": "broken", "content": "class Pipe"})
    assert (answer.status, answer.error["code"]) == (400, "load_failed")
    assert Function.objects.count() == 1


# --- Hostile bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"id": None}, "id"),
        ({"id": 7}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a-b"}, "id"),
        ({"id": "1a"}, "id"),
        ({"id": "a\0"}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"id": "x" * 100_000}, "id"),
        ({"name": ["x"]}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"content": None}, "content"),
        ({"content": {"a": 1}}, "content"),
        ({"content": "  \n"}, "content"),
        ({"content": SOURCE + "\0"}, "content"),
        ({"content": SOURCE + "\udc00"}, "content"),
        ({"meta": "x"}, "meta"),
        ({"meta": {"description": 5}}, "meta.description"),
        ({"meta": {"description": "a\0"}}, "meta"),
        ({"meta": {"\0": 1}}, "meta"),
        ({"meta": {"a": ["\ud800"]}}, "meta"),
        ({"meta": {"a": json.loads("[" * 40 + "]" * 40)}}, "meta"),
        ({"commit_message": 1}, "commit_message"),
        ({"commit_message": "a\0"}, "commit_message"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(api, change, param):
    body = {"id": "greeter", "name": "G", "content": SOURCE, "meta": {}} | change
    answer = api.request("POST", CREATE, content=json.dumps(body).encode())
    assert (answer.status, answer.error["param"]) == (400, param)
    assert not Function.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"id": NaN}', b"[" * 100_000])
def test_what_is_no_object_is_refused(api, body):
    answer = api.request("POST", CREATE, content=body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


def test_numbers_that_databases_do_not_take_are_refused(api):
    body = b'{"id": "a", "content": "class Pipe: pass", "meta": {"x": 1e999}}'
    answer = api.request("POST", CREATE, content=body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert not Function.objects.exists()
