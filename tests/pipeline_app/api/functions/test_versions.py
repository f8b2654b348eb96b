"""The history of a function over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from functions_app.models import Function, FunctionVersion
from pipeline_app.api.functions.base import FunctionNotFound, function_or_404, whole
from pipeline_app.snapshot import person_of
from tests.builders import make_function, make_version

ID = "/api/v1/functions/id/greeter"
SOURCE = '"""\ntitle: One\n"""\n\n\nclass Pipe:\n    def pipe(self, body):\n        return "one"\n'
ENTRY = ["id", "function_id", "parent_id", "user_id", "commit_message", "created_at", "user", "number", "state"]


@pytest.fixture
def greeter(base_packages, alice, changed):
    """A function with three versions: retired, live, broken."""
    function = make_function("greeter", SOURCE, name="Greeter", author=alice, meta={"description": "Greets."})
    make_version(function, SOURCE.replace("one", "two"), author=alice, note="says two")
    make_version(function, SOURCE + "\nraise ValueError('no')\n")
    changed()
    return function


def ids(function) -> list[str]:
    """The ids of the versions, the oldest first."""
    return [str(pk) for pk in function.versions.order_by("number").values_list("pk", flat=True)]


def test_the_history_has_entries_without_sources_the_newest_first(api, greeter, alice):
    one, two, three = ids(greeter)
    told = api.get(ID + "/history").json
    assert [list(entry) for entry in told] == [ENTRY] * 3
    assert [(e["id"], e["parent_id"], e["number"], e["state"]) for e in told] == [
        (three, two, 3, "broken"), (two, one, 2, "live"), (one, None, 1, "retired"),
    ]  # fmt: skip
    assert told[1]["commit_message"] == "says two"
    assert (told[1]["user"], told[1]["user_id"]) == ({"name": "alice"}, str(alice.pk))
    assert (told[0]["commit_message"], told[0]["user"], told[0]["user_id"]) == (None, None, None)
    assert {entry["function_id"] for entry in told} == {"greeter"}


def test_a_page_has_twenty_entries_and_the_last_of_them_knows_its_parent(api, greeter):
    FunctionVersion.objects.bulk_create(
        [FunctionVersion(function=greeter, number=number, source=f"{SOURCE}# {number}\n") for number in range(4, 26)]
    )
    first, second = api.get(ID + "/history").json, api.get(ID + "/history?page=2").json
    assert [entry["number"] for entry in first] == list(range(25, 5, -1))
    assert [entry["number"] for entry in second] == list(range(5, 0, -1))
    assert first[-1]["parent_id"] == second[0]["id"]
    assert api.get(ID + "/history?page=3").json == []
    assert api.get(ID + "/history?page=1000000").json == []


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "9" * 30, "", "%00", "%D9%A1"])
def test_a_page_that_is_no_number_is_refused(api, greeter, page):
    answer = api.get(f"{ID}/history?page={page}")
    assert (answer.status, answer.error["param"]) == (400, "page")


def test_a_version_comes_with_its_source_and_its_error(api, greeter):
    one, _, three = ids(greeter)
    told = api.get(f"{ID}/history/{one}").json
    assert list(told) == [*ENTRY, "snapshot", "error", "environment"]
    assert told["error"] is None
    assert told["snapshot"] == {
        "name": "Greeter",
        "content": SOURCE,
        "meta": {"description": "Greets.", "manifest": {"title": "One"}, "toggle": False},
    }
    assert api.get(f"{ID}/history/{three}").json["error"]["message"] == "no"


@pytest.mark.parametrize("version", ["nothing", "6b8f0a52-5c1e-4a53-9b0e-3f0a1f1d2c3b", "%00", "diffs"])
def test_a_version_that_is_not_there_is_404(api, greeter, version):
    for method in ("GET", "DELETE"):
        answer = api.request(method, f"{ID}/history/{version}")
        assert (answer.status, answer.error["code"]) == (404, "version_not_found")
    answer = api.get(f"{ID}/history/diff?from_id={version}&to_id={ids(greeter)[0]}")
    assert (answer.status, answer.error["param"]) == (404, "from_id")


def test_a_version_of_another_function_is_404(api, greeter):
    other = make_function("other", SOURCE).newest
    assert api.get(f"{ID}/history/{other.pk}").status == 404
    assert api.request("DELETE", f"{ID}/history/{other.pk}").status == 404
    assert api.post(ID + "/update/version", {"version_id": str(other.pk)}).status == 404
    assert FunctionVersion.objects.filter(pk=other.pk).exists()


# --- Differences ----------------------------------------------------------------------------------------


def test_two_versions_are_compared_line_by_line(api, greeter):
    one, two, _ = ids(greeter)
    told = api.get(f"{ID}/history/diff?from_id={one}&to_id={two}").json
    assert told == {
        "from_id": one,
        "to_id": two,
        "metadata": {},
        "content_diff": told["content_diff"],
        "line_endings_only": False,
    }
    lines = told["content_diff"].split("\n")
    assert lines[:2] == ["--- selected.py", "+++ production.py"]
    assert [line for line in lines[2:] if line[:1] in "+-"] == ['-        return "one"', '+        return "two"']


def test_versions_that_differ_in_line_ends_only_say_so(api, greeter):
    other = make_version(greeter, SOURCE.replace("\n", "\r\n"), publish=False)
    told = api.get(f"{ID}/history/diff?from_id={ids(greeter)[0]}&to_id={other.pk}").json
    assert (told["content_diff"], told["line_endings_only"]) == ("", True)
    told = api.get(f"{ID}/history/diff?from_id={other.pk}&to_id={other.pk}").json
    assert (told["content_diff"], told["line_endings_only"]) == ("", False)


@pytest.mark.parametrize("missing", ["from_id", "to_id"])
def test_both_versions_have_to_be_named(api, greeter, missing):
    other = "to_id" if missing == "from_id" else "from_id"
    answer = api.get(f"{ID}/history/diff?{other}={ids(greeter)[0]}")
    assert (answer.status, answer.error["param"]) == (400, missing)


# --- Deleting and publishing ------------------------------------------------------------------------------


def test_a_version_that_does_not_serve_is_deleted_and_its_child_has_the_parent_before(api, greeter):
    one, two, three = ids(greeter)
    four = str(make_version(greeter, SOURCE + "#\n", publish=False).pk)
    assert api.request("DELETE", f"{ID}/history/{three}").json is True
    assert [(e["id"], e["parent_id"]) for e in api.get(ID + "/history").json] == [(four, two), (two, one), (one, None)]


def test_the_live_version_is_not_deleted(api, greeter):
    answer = api.request("DELETE", f"{ID}/history/{ids(greeter)[1]}")
    assert (answer.status, answer.error["code"]) == (409, "version_is_live")
    assert answer.error["message"] == "Version 2 is live, so it can't be deleted; publish another one first."
    assert greeter.versions.count() == 3


def test_an_older_version_serves_again_without_a_new_one(api, greeter, changed):
    one = ids(greeter)[0]
    answer = api.post(ID + "/update/version", {"version_id": one.upper()})
    assert (answer.status, answer.json["version_id"], answer.json["state"]) == (200, one, "live")
    assert answer.json["content"] == SOURCE
    changed()
    assert api.chat("greeter").content == "one"
    assert greeter.versions.count() == 3


def test_a_version_that_takes_over_while_it_is_read_is_told_of_as_one(base_packages, alice):
    person = person_of(alice)
    function = make_function("greeter", SOURCE, author=alice, publish=False)
    for number, one in enumerate(("one", "two"), 1):
        if number == 2:
            make_version(function, SOURCE.replace("one", one), author=alice, publish=False)
        before = function_or_404("greeter")
        function.newest.publish()
        told = whole(person, before)
        assert (told["number"], told["state"], told["newest"]["state"]) == (number, "live", "live")
        assert f'return "{one}"' in told["content"]
    function.delete()
    with pytest.raises(FunctionNotFound):
        function_or_404("greeter")


def test_a_version_that_does_not_load_does_not_take_over(api, greeter, changed):
    answer = api.post(ID + "/update/version", {"version_id": ids(greeter)[2]})
    assert (answer.status, answer.error["code"]) == (400, "load_failed")
    assert answer.error["message"] == "no (line 10). Version 3 was kept as broken; version 2 goes on serving."
    changed()
    assert api.chat("greeter").content == "two"


@pytest.mark.parametrize("body", [{}, {"version_id": None}, {"version_id": 2}, {"version_id": "2"}, {"version_id": []}])
def test_a_version_has_to_be_named_to_be_published(api, greeter, body):
    answer = api.post(ID + "/update/version", body)
    assert (answer.status, answer.error["param"]) == (400, "version_id")


# --- Name and facts of a time ---------------------------------------------------------------------------


@pytest.fixture
def renamed(api, greeter):
    """The function after an update that changed code, name and description, as three ids: before, after, broken."""
    body = {"name": "Host", "content": SOURCE.replace("one", "three"), "meta": {"description": "Hosts.", "tags": ["x"]}}
    assert api.post(ID + "/update", body).status == 200
    _, before, broken, after = ids(greeter)
    return before, after, broken


def test_a_version_that_serves_no_more_tells_the_name_it_served_under(api, renamed):
    before, after, _ = renamed
    old, new = (api.get(f"{ID}/history/{version}").json["snapshot"] for version in (before, after))
    assert (old["name"], old["meta"]) == (
        "Greeter",
        {"description": "Greets.", "manifest": {"title": "One"}, "toggle": False},
    )
    assert (new["name"], new["meta"]["description"], new["meta"]["tags"]) == ("Host", "Hosts.", ["x"])


def test_a_comparison_tells_what_else_changed(api, greeter, renamed):
    before, after, broken = renamed
    assert api.get(f"{ID}/history/diff?from_id={before}&to_id={after}").json["metadata"] == {
        "name": {"before": "Greeter", "after": "Host"},
        "meta": {"before": {"description": "Greets."}, "after": {"description": "Hosts.", "tags": ["x"]}},
    }
    first = ids(greeter)[0]
    assert api.get(f"{ID}/history/diff?from_id={first}&to_id={before}").json["metadata"] == {}
    assert api.get(f"{ID}/history/diff?from_id={broken}&to_id={after}").json["metadata"] == {}


def test_a_version_that_serves_again_does_so_under_its_name(api, renamed):
    before, after, _ = renamed
    told = api.post(ID + "/update/version", {"version_id": before}).json
    assert (told["name"], told["meta"]["description"], "tags" in told["meta"]) == ("Greeter", "Greets.", False)
    told = api.post(ID + "/update/version", {"version_id": after}).json
    assert (told["name"], told["meta"]["description"], told["meta"]["tags"]) == ("Host", "Hosts.", ["x"])
    Function.objects.update(updated_at=datetime(2020, 1, 1, tzinfo=UTC))
    again = api.post(ID + "/update/version", {"version_id": after}).json
    assert again["updated_at"] == datetime(2020, 1, 1, tzinfo=UTC).timestamp()  # nothing was to be done


def test_a_name_given_while_a_version_served_is_its_own(api, greeter, renamed):
    before, after, _ = renamed
    assert api.post(ID + "/update", {"name": "Landlady"}).json["name"] == "Landlady"
    assert api.post(ID + "/update/version", {"version_id": before}).json["name"] == "Greeter"
    assert api.get(f"{ID}/history/{after}").json["snapshot"]["name"] == "Landlady"
    assert api.post(ID + "/update/version", {"version_id": after}).json["name"] == "Landlady"


def test_an_import_leaves_the_version_that_it_replaces_its_name(api, greeter):
    entry = {
        "id": "greeter",
        "name": "Imported",
        "content": SOURCE.replace("one", "four"),
        "meta": {"description": "I"},
    }
    assert api.post("/api/v1/functions/import", {"functions": [entry], "overwrite": True}).status == 200
    _, before, _, after = ids(greeter)
    assert api.get(f"{ID}/history/diff?from_id={before}&to_id={after}").json["metadata"] == {
        "name": {"before": "Greeter", "after": "Imported"},
        "meta": {"before": {"description": "Greets."}, "after": {"description": "I"}},
    }
