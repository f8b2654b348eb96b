"""Functions changed over HTTP: a new version serves when it loads, and nobody's change is lost."""

from __future__ import annotations

import json

import pytest

from functions_app.models import Valves
from tests.builders import make_function, make_version

UPDATE = "/api/v1/functions/id/{}/update"
READ = "/api/v1/functions/id/{}"
SOURCE = "class Pipe:\n    def pipe(self, body):\n        return 'one'\n"
SECOND = SOURCE.replace("one", "two")
BROKEN = SOURCE + "\nraise ValueError('no luck')\n"
MODEL = [
    "version_id",
    "id",
    "user_id",
    "name",
    "type",
    "content",
    "meta",
    "is_active",
    "is_global",
    "updated_at",
    "created_at",
]


@pytest.fixture
def greeter(base_packages, alice, changed):
    function = make_function("greeter", SOURCE, name="Greeter", author=alice, meta={"description": "Greets."})
    changed()
    return function


def test_an_update_is_a_new_version_that_serves_at_once(api, greeter, alice, changed):
    answer = api.post(UPDATE.format("greeter"), {"id": "ignored", "name": "Two", "content": SECOND,
                                                 "meta": {"description": "Says two."}, "commit_message": "louder"})  # fmt: skip
    assert answer.status == 200
    told = answer.json
    assert list(told) == [*MODEL, "number", "state", "newest"]
    assert (told["id"], told["name"], told["content"]) == ("greeter", "Two", SECOND)
    assert (told["number"], told["state"], told["meta"]["description"]) == (2, "live", "Says two.")
    greeter.refresh_from_db()
    assert (str(greeter.live.pk), greeter.live.note, greeter.live.author) == (told["version_id"], "louder", alice)
    assert answer.headers["etag"] == api.get(READ.format("greeter")).headers["etag"]
    changed()
    assert api.chat("greeter").content == "two"


def test_the_same_code_again_makes_no_version(api, greeter):
    told = api.post(UPDATE.format("greeter"), {"name": "Other", "content": SOURCE, "meta": {}}).json
    assert (told["number"], told["name"], told["meta"]["description"]) == (1, "Other", None)


def test_a_name_alone_can_be_changed(api, greeter):
    told = api.post(UPDATE.format("greeter"), {"name": "Other"}).json
    assert (told["number"], told["name"], told["content"]) == (1, "Other", SOURCE)
    assert told["meta"]["description"] == "Greets."


def test_code_that_does_not_load_is_kept_as_broken_and_the_last_one_serves(api, greeter, changed):
    answer = api.post(UPDATE.format("greeter"), {"name": "Other", "content": BROKEN, "meta": {"description": "New."}})
    assert (answer.status, answer.error["code"]) == (400, "load_failed")
    assert answer.error["message"] == ("no luck (line 5). Version 2 was kept as broken; version 1 goes on serving.")
    assert answer.json["load_error"]["line"] == 5
    assert "raise ValueError" in answer.json["load_error"]["traceback"]
    broken = greeter.newest
    assert answer.json["version"] == {"version_id": str(broken.pk), "number": 2, "state": "broken"}
    told = api.get(READ.format("greeter")).json
    assert (told["content"], told["name"], told["meta"]["description"]) == (SOURCE, "Greeter", "Greets.")
    changed()
    assert api.chat("greeter").content == "one"


def test_valves_that_the_new_code_does_not_take_are_named(api, base_packages, changed):
    source = "from pydantic import BaseModel\n\nclass Pipe:\n    class Valves(BaseModel):\n        size: int = 1\n"
    function = make_function("sized", source, valves={"size": 5})
    answer = api.post(UPDATE.format("sized"), {"content": source.replace("int = 1", "bool = True")})
    assert answer.status == 400
    assert answer.error["message"].startswith("Current Valves are incompatible with this code: size: ")
    assert Valves.objects.get(function=function).values == {"size": 5}


def test_broken_code_can_be_tried_again_as_it_is(api, greeter):
    """What it lacks may have come meanwhile."""
    api.post(UPDATE.format("greeter"), {"content": BROKEN})
    assert api.post(UPDATE.format("greeter"), {"content": BROKEN}).status == 400
    assert greeter.versions.count() == 2


def test_who_may_not_publish_leaves_a_draft_and_what_serves_goes_on(author, greeter, api, changed):
    answer = author("change_function").post(UPDATE.format("greeter"), {"name": "Bobs", "content": SECOND})
    assert (answer.status, answer.json["state"], answer.json["content"]) == (200, "draft", SECOND)
    assert answer.json["name"] == "Bobs"
    changed()
    assert api.chat("greeter").content == "one"
    told = api.get(READ.format("greeter")).json
    assert (told["content"], told["newest"]["state"]) == (SOURCE, "draft")
    draft = told["newest"]["version_id"]
    assert api.post(READ.format("greeter") + "/update/version", {"version_id": draft}).json["state"] == "live"


# --- Lost updates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["version_id", "If-Match", "weak", "whole"])
def test_an_update_says_what_it_began_from(api, greeter, way):
    read = api.get(READ.format("greeter"))
    first, tag = read.json["version_id"], read.headers["etag"]
    body = {"version_id": first} if way == "version_id" else {}
    headers = {"If-Match": f'"{first}"', "weak": f"W/{tag}", "whole": tag}
    given = {"headers": {"If-Match": headers[way]}} if way != "version_id" else {}
    if way == "If-Match":
        given = {"headers": {"If-Match": headers["If-Match"]}}
    won = api.post(UPDATE.format("greeter"), {"content": SECOND, **body}, **given)
    assert won.status == 200, won.text
    lost = api.post(UPDATE.format("greeter"), {"content": SOURCE + "# mine\n", "name": "Mine", **body}, **given)
    assert (lost.status, lost.error["code"], lost.error["param"]) == (409, "version_conflict", "version_id")
    current = won.json["version_id"]
    assert f"its current version_id is {current} (version 2, live)" in lost.error["message"]
    assert lost.json["version_id"] == current
    assert lost.headers["etag"] == won.headers["etag"]
    greeter.refresh_from_db()
    assert (greeter.versions.count(), greeter.name, greeter.live.source) == (2, "Greeter", SECOND)
    again = {"version_id": current, "content": SOURCE + "# mine\n"}
    assert api.post(UPDATE.format("greeter"), again).status == 200


def test_a_tag_also_tells_of_a_changed_name(api, greeter):
    tag = api.get(READ.format("greeter")).headers["etag"]
    assert api.post(UPDATE.format("greeter"), {"name": "One"}, headers={"If-Match": tag}).status == 200
    lost = api.post(UPDATE.format("greeter"), {"name": "Two"}, headers={"If-Match": tag})
    assert (lost.status, lost.error["code"]) == (409, "version_conflict")
    greeter.refresh_from_db()
    assert greeter.name == "One"


def test_a_switch_turned_meanwhile_is_no_conflict(api, greeter):
    tag = api.get(READ.format("greeter")).headers["etag"]
    api.post(READ.format("greeter") + "/toggle")
    assert api.post(UPDATE.format("greeter"), {"name": "One"}, headers={"If-Match": tag}).status == 200


def test_a_draft_that_waits_is_what_the_next_update_begins_from(api, author, greeter):
    live = api.get(READ.format("greeter")).json["version_id"]
    draft = author("change_function").post(UPDATE.format("greeter"), {"content": SECOND}).json["version_id"]
    assert api.post(UPDATE.format("greeter"), {"content": SOURCE + "#\n", "version_id": live}).status == 409
    assert api.post(UPDATE.format("greeter"), {"content": SOURCE + "#\n", "version_id": draft}).status == 200


def test_after_a_broken_version_one_may_begin_from_it_or_from_what_serves(api, greeter):
    live = api.get(READ.format("greeter")).json["version_id"]
    broken = api.post(UPDATE.format("greeter"), {"content": BROKEN}).json["version"]["version_id"]
    fixed = api.post(UPDATE.format("greeter"), {"content": SECOND, "version_id": broken})
    assert fixed.status == 200
    assert api.post(UPDATE.format("greeter"), {"content": SOURCE + "#\n", "version_id": live}).status == 409


def test_an_older_version_that_was_published_again_is_current(api, greeter):
    first = greeter.live
    second = make_version(greeter, SECOND)
    first.publish()
    assert api.post(UPDATE.format("greeter"), {"content": SOURCE + "#\n", "version_id": str(second.pk)}).status == 409
    assert api.post(UPDATE.format("greeter"), {"content": SOURCE + "#\n", "version_id": str(first.pk)}).status == 200


def test_any_version_will_do_for_a_star(api, greeter):
    assert api.post(UPDATE.format("greeter"), {"content": SECOND}, headers={"If-Match": "*"}).status == 200


@pytest.mark.parametrize("tag", ["nonsense", '"nonsense"', '""', '"a", "b"'])
def test_a_tag_of_no_version_is_a_conflict(api, greeter, tag):
    answer = api.post(UPDATE.format("greeter"), {"content": SECOND}, headers={"If-Match": tag})
    assert (answer.status, answer.error["code"]) == (409, "version_conflict")


def test_body_and_header_must_not_contradict_each_other(api, greeter):
    live = str(greeter.live.pk)
    headers = {"If-Match": '"6b8f0a52-5c1e-4a53-9b0e-3f0a1f1d2c3b"'}
    answer = api.post(UPDATE.format("greeter"), {"content": SECOND, "version_id": live}, headers=headers)
    assert (answer.status, answer.error["param"]) == (400, "version_id")


# --- Hostile bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": 5}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"content": 5}, "content"),
        ({"content": ""}, "content"),
        ({"content": SECOND + "\0"}, "content"),
        ({"content": SECOND, "meta": []}, "meta"),
        ({"content": SECOND, "version_id": 5}, "version_id"),
        ({"content": SECOND, "version_id": "5"}, "version_id"),
        ({"content": SECOND, "version_id": "\0"}, "version_id"),
        ({"content": SECOND, "version_id": "\ud800" * 32}, "version_id"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(api, greeter, body, param):
    answer = api.request("POST", UPDATE.format("greeter"), content=json.dumps(body).encode())
    assert (answer.status, answer.error["param"]) == (400, param)
    greeter.refresh_from_db()
    assert (greeter.versions.count(), greeter.name) == (1, "Greeter")
