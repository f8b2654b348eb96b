"""Export, import and sync over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from functions_app.models import Function, Valves
from tests.builders import make_function
from tests.functions_app.sources import NO_CLASS, NO_CLASS_ERROR, OTHER_PIPE, PIPE, with_valves

SAMPLES = Path(__file__).resolve().parents[3] / "functions_app" / "samples"
EXPORT = "/api/v1/functions/export"
IMPORT = "/api/v1/functions/import"
SYNC = "/api/v1/functions/sync"
KEYS = [
    "version_id", "id", "user_id", "name", "type", "content", "meta", "is_active", "is_global", "updated_at", "created_at",
]  # fmt: skip
SECRET = with_valves("size: int = 1\napi_key: str = ''")
ENTRY = {"id": "hello", "name": "Hello", "content": PIPE, "meta": {"description": "Says it."}}


@pytest.fixture
def sample(samples_can_be_had):
    return json.loads((SAMPLES / "functions-export-with-valves.json").read_text())


# --- Export ----------------------------------------------------------------------------------------------------


def test_an_export_has_open_webuis_keys_in_their_order(api):
    make_function("a", SECRET, valves={"size": 3, "api_key": "sk-1"})
    (entry,) = api.get(EXPORT).json
    assert list(entry) == KEYS
    assert (entry["id"], entry["type"], entry["content"], entry["is_active"]) == ("a", "pipe", SECRET, True)
    (entry,) = api.get(f"{EXPORT}?include_valves=true").json
    assert list(entry) == [*KEYS[:7], "valves", *KEYS[7:]]
    assert entry["valves"] == {"size": 3}


def test_an_export_with_valves_needs_the_permission_to_configure(author, base_packages):
    api = author("view_function")
    assert api.get(EXPORT).status == 200
    refused = api.get(f"{EXPORT}?include_valves=true")
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert "change_valves" in refused.error["message"]


def test_valves_that_cannot_be_read_are_an_honest_error(api, settings):
    from cryptography.fernet import Fernet

    make_function("a", SECRET, valves={"size": 3})
    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    answer = api.get(f"{EXPORT}?include_valves=true")
    assert (answer.status, answer.error["code"]) == (503, "undecryptable_valves")
    assert api.get(EXPORT).status == 200


def test_a_query_that_is_no_boolean_is_refused(api):
    answer = api.get(f"{EXPORT}?include_valves=perhaps")
    assert (answer.status, answer.error["param"]) == (400, "include_valves")


# --- Import ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [ENTRY, [ENTRY], {"function": ENTRY}, [{"function": ENTRY, "upvotes": 3}], {"functions": [ENTRY]}]
)
def test_every_form_of_an_export_is_taken(api, alice, body):
    answer = api.post(IMPORT, body)
    assert answer.json == {
        "functions": [
            {"id": "hello", "action": "create", "version": 1, "reasons": ["new"], "notes": [], "error": None}
        ],
        "created": 1,
        "updated": 0,
        "kept": 0,
        "refused": 0,
    }
    function = Function.objects.get()
    assert (function.owner, function.is_active, function.live.source) == (alice, False, PIPE)


def test_an_imported_function_answers(api, changed):
    assert api.post(f"{IMPORT}?flags=true", {**ENTRY, "is_active": True}).status == 200
    changed()
    assert api.chat("hello").content == "hello"


def test_what_exists_is_left_alone_unless_overwriting_is_asked_for(api):
    make_function("hello", PIPE)
    assert api.post(IMPORT, {**ENTRY, "content": OTHER_PIPE}).json["kept"] == 1
    assert api.post(IMPORT, {"functions": [{**ENTRY, "content": OTHER_PIPE}], "overwrite": True}).json["updated"] == 1
    assert Function.objects.get().live.source == OTHER_PIPE


def test_all_problems_are_said_and_nothing_is_imported(api):
    entries = [ENTRY, 3, {**ENTRY, "id": "bad", "content": NO_CLASS}, {**ENTRY, "id": "e", "valves": "gAAA"}]
    answer = api.post(IMPORT, entries)
    assert (answer.status, answer.error["code"]) == (400, "import_refused")
    assert answer.error["message"].startswith(
        "Nothing was changed. entry 2: This is no function: an object is needed, not int. "
        f"bad does not load: {NO_CLASS_ERROR} e (entry 4): The valves are encrypted."
    )
    assert [problem.split(" ")[0] for problem in answer.json["problems"]] == ["entry", "bad", "e"]
    assert all(problem.endswith(".") and not problem.endswith("..") for problem in answer.json["problems"])
    assert not Function.objects.exists()
    answer = api.post(f"{IMPORT}?partial=true", entries)
    assert (answer.status, answer.json["created"], answer.json["refused"]) == (200, 1, 3)
    assert [change["error"] is None for change in answer.json["functions"]] == [True, False, False, False]


def test_a_very_long_list_of_problems_is_cut(api):
    message = api.post(IMPORT, [3] * 500).error["message"]
    assert message.count("This is no function") == 50
    assert message.endswith("And 450 more.")


def test_a_dry_run_writes_nothing(api):
    assert api.post(f"{IMPORT}?dry_run=true", ENTRY).json["created"] == 1
    assert not Function.objects.exists()


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"{", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b'{"functions": [], "overwrite": "perhaps"}', "overwrite"),
        (b'{"functions": [], "partial": 2}', "partial"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(api, content, param):
    answer = api.request("POST", IMPORT, content=content)
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "a\0", "content": PIPE},
        {"id": "a", "content": "class Pipe:\n    x = '\ud800'\n"},
        {"id": "a" * 300, "content": PIPE},
        {"id": ["a"], "content": PIPE},
        {**ENTRY, "valves": {"a": "\ud800"}},
        {**ENTRY, "created_at": 10**400},
        {**ENTRY, "is_active": 10**400},
        {**ENTRY, "policy": {"memory_mb": 10**400}},
        {**ENTRY, "policy": {"time_limit": {"x": 1}}},
        {**ENTRY, "policy": {"allow": [["x"]], "grants": 3, "imports": []}},
    ],
)
def test_hostile_entries_are_refused(api, entry):
    assert api.request("POST", f"{IMPORT}?flags=1&policy=1", content=json.dumps(entry)).status == 400
    assert not Function.objects.exists()


def test_huge_numbers_in_facts_are_stored(api):
    big = {**ENTRY, "meta": {"n": 10**300}, "content": SECRET, "valves": {"size": 10**300}}
    assert api.request("POST", IMPORT, content=json.dumps(big)).status == 200


def test_an_author_makes_drafts_and_needs_more_for_more(author):
    api = author("change_function")
    assert api.post(IMPORT, ENTRY).json["created"] == 1
    function = Function.objects.get()
    assert (function.live, function.newest.state) == (None, "draft")
    for more, lacking in (
        ({"is_active": True}, "publish_function"),
        ({"content": SECRET, "valves": {"size": 2}}, "change_valves"),
        ({"policy": {"memory_mb": 256}}, "change_policy"),
    ):
        answer = api.post(f"{IMPORT}?flags=true&policy=true", {**ENTRY, "id": "b", **more})
        assert answer.status == 403
        assert lacking in answer.error["message"]
    assert (
        api.post(f"{IMPORT}?valves=false", {**ENTRY, "id": "b", "content": SECRET, "valves": {"size": 2}}).status == 200
    )


# --- Sync ------------------------------------------------------------------------------------------------------


def test_open_webuis_own_export_syncs_and_comes_back(api, sample):
    make_function("old", PIPE)
    answer = api.post(SYNC, {"functions": sample})
    assert answer.status == 200, answer.text
    assert sorted(entry["id"] for entry in sample) == [entry["id"] for entry in answer.json]
    theirs = {entry["id"]: entry for entry in sample}
    for entry in answer.json:
        other = theirs[entry["id"]]
        assert list(entry) == list(other)
        same = [key for key in entry if key not in ("version_id", "user_id", "updated_at", "valves")]
        assert {key: entry[key] for key in same} == {key: other[key] for key in same}
        assert "api_key" not in entry["valves"]
    assert Valves.objects.get(function="greeter").values == theirs["greeter"]["valves"]
    assert api.get(f"{EXPORT}?include_valves=true").json == answer.json


def test_a_sync_without_secrets_keeps_them(api):
    make_function("a", SECRET, valves={"size": 3, "api_key": "sk-1"})
    exported = api.get(f"{EXPORT}?include_valves=true").json
    assert api.post(SYNC, {"functions": exported}).json == exported
    assert Valves.objects.get().values == {"size": 3, "api_key": "sk-1"}


def test_a_sync_with_one_bad_entry_changes_nothing(api):
    make_function("old", PIPE)
    answer = api.post(SYNC, {"functions": [ENTRY, {**ENTRY, "id": "bad", "content": "oops("}]})
    assert (answer.status, answer.error["code"]) == (400, "import_refused")
    assert answer.json["problems"] == ["bad does not load: '(' was never closed (line 1)."]
    assert Function.objects.get().pk == "old"


@pytest.mark.parametrize("body", [{}, {"functions": {}}, {"functions": None}, []])
def test_a_sync_of_no_list_is_refused(api, body):
    make_function("old", PIPE)
    assert api.post(SYNC, body).status == 400
    assert Function.objects.exists()


@pytest.mark.parametrize("lacking", ["change_function", "publish_function", "change_valves"])
def test_a_sync_needs_three_permissions(author, lacking):
    api = author(*({"change_function", "publish_function", "change_valves"} - {lacking}))
    answer = api.post(SYNC, {"functions": []})
    assert answer.status == 403
    assert lacking in answer.error["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", EXPORT), ("POST", IMPORT), ("POST", SYNC)])
def test_each_door_is_closed_to_others(api, bobs_api, author, method, path):
    key, api.key = api.key, None
    assert api.request(method, path, json=[]).status == 401
    api.key = key
    assert bobs_api.request(method, path, json=[]).status == 403
    unscoped = author("view_function", "change_function", "publish_function", "change_valves", scopes=("models",))
    assert unscoped.request(method, path, json=[]).status == 403
