"""Checking code over HTTP without saving it."""

from __future__ import annotations

import pytest

from functions_app.models import Function, FunctionVersion
from tests.builders import make_function
from tests.settings import CHECKOUT

CHECK = "/api/v1/functions/validate"
GOOD = '"""\ntitle: Good\n"""\n\n\nclass Pipe:\n    async def pipe(self, body):\n        return "hi"\n'


def codes(answer):
    return [one["code"] for one in answer.json["findings"]]


def test_good_code_is_ok_and_nothing_is_stored(api):
    answer = api.post(CHECK, {"content": GOOD})
    assert answer.status == 200
    told = answer.json
    manifest = told.pop("manifest")
    assert told == {"ok": True, "kind": "pipe", "frontmatter": {"title": "Good"}, "findings": []}
    assert manifest["hooks"]["pipe"]["async"] is True
    assert not Function.objects.exists() and not FunctionVersion.objects.exists()


def test_an_untidy_function_is_told_everything_at_once(api):
    source = (CHECKOUT / "tests" / "functions" / "checked" / "untidy.py").read_text()
    answer = api.post(CHECK, {"content": source})
    told = answer.json
    assert (told["ok"], told["kind"], told["manifest"]) == (False, "filter", None)
    assert [(one["line"], one["severity"], one["code"]) for one in told["findings"]] == [
        (1, "warning", "missing-title"),
        (2, "warning", "frontmatter-key"),
        (4, "warning", "frontmatter-version"),
        (5, "warning", "duplicate-requirement"),
        (5, "info", "requirement-comma"),
        (5, "error", "invalid-requirement"),
        (5, "error", "invalid-requirement"),
        (6, "warning", "frontmatter-lost"),
        (9, "info", "unused-import"),
        (13, "error", "undeclared-import"),
        (13, "info", "unused-import"),
        (18, "warning", "valves-not-set"),
        (25, "error", "unknown-argument"),
        (25, "warning", "unknown-argument"),
        (26, "warning", "blocking-call"),
        (27, "warning", "blocking-call"),
        (28, "warning", "not-awaited"),
        (30, "error", "undefined-name"),
        (38, "error", "missing-self"),
        (41, "error", "generator-hook"),
        (45, "warning", "several-classes"),
    ]


def test_a_failure_while_loading_has_the_authors_line(api):
    answer = api.post(CHECK, {"content": GOOD + "\n\nprint('so far')\nvalue = 1 / 0\n"})
    assert answer.json["findings"] == [
        {
            "severity": "error",
            "code": "load-error",
            "message": "ZeroDivisionError: division by zero",
            "line": 12,
            "column": 1,
            "end_line": None,
            "end_column": None,
        }
    ]
    assert answer.json["kind"] == "pipe"


def test_a_name_is_as_good_as_a_title(api):
    source = "class Pipe:\n    def pipe(self, body):\n        return 1\n"
    assert codes(api.post(CHECK, {"content": source})) == ["missing-title"]
    assert codes(api.post(CHECK, {"content": source, "name": "One"})) == []


def test_a_stored_functions_policy_holds_and_its_workers_are_left_alone(api, changed):
    make_function("greeter", GOOD, policy={"imports": {"deny": ["json"]}})
    changed()
    refused = api.post(CHECK, {"content": GOOD + "\n\nimport json\n\nprint(json)\n", "id": "greeter"})
    assert codes(refused) == ["refused-import"]
    assert codes(api.post(CHECK, {"content": GOOD + "\n\nimport json\n\nprint(json)\n"})) == []
    assert api.chat("greeter").content == "hi"


def test_another_policy_may_be_tried_by_who_may_set_policies(api, author, changed):
    body = {"content": GOOD + "\n\nimport json\n\nprint(json)\n", "policy": {"imports": {"allow": ["re"]}}}
    assert codes(api.post(CHECK, body)) == ["refused-import"]
    refused = author("change_function").post(CHECK, body)
    assert (refused.status, refused.error["message"]) == (
        403,
        "Checking under another policy than the function's own needs the permission 'functions_app.change_policy'.",
    )
    assert codes(author("change_function", "change_policy").post(CHECK, body)) == ["refused-import"]


def test_code_that_ends_or_holds_its_process_is_a_finding(api, settings):
    if settings.FUNCTIONS_RUNNER == "inline":
        pytest.skip("author code shares the server's process")

    def crash(code, **more):
        found = api.post(CHECK, {"content": GOOD + "\n\n" + code, **more}).json["findings"]
        return next(one["message"] for one in found if one["code"] == "crashed")

    assert crash("import os\n\nos._exit(3)\n") == (
        "The source ended its process while it was loaded: it left by itself with exit status 3."
    )
    assert crash("while True: pass\n", policy={"time_limit": {"load": 0.5}}) == (
        "It took longer than 0.5 s and was stopped. Move slow work out of the module and of __init__."
    )
    assert crash("import pipeline_app.worker.checking as c\n\nc.look_at = lambda *a: 1\n") == (
        "The source ended its process: it told what no worker may tell: a look at a function that is none."
    )


def test_a_crash_in_a_check_opens_no_breaker(api, changed, settings):
    if settings.FUNCTIONS_RUNNER == "inline":
        pytest.skip("author code shares the server's process")
    make_function("greeter", GOOD)
    changed()
    for _ in range(6):
        answer = api.post(CHECK, {"content": GOOD + "\n\nimport os\n\nos._exit(1)\n", "id": "greeter"})
        assert codes(answer) == ["crashed"]
    assert api.chat("greeter").content == "hi"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "content"),
        ({"content": None}, "content"),
        ({"content": 1}, "content"),
        ({"content": "   "}, "content"),
        ({"content": "x = '\0'"}, "content"),
        ({"content": GOOD, "id": "not an id"}, "id"),
        ({"content": GOOD, "id": 1}, "id"),
        ({"content": GOOD, "name": []}, "name"),
        ({"content": GOOD, "name": "x" * 300}, "name"),
        ({"content": GOOD, "policy": []}, "policy"),
        ({"content": GOOD, "policy": {"nothing": 1}}, "nothing"),
        ({"content": GOOD, "policy": {"threads": "many"}}, "threads"),
    ],
)
def test_what_is_no_check_is_refused(api, body, param):
    answer = api.post(CHECK, body)
    assert (answer.status, answer.error["param"]) == (400, param)


def test_half_a_surrogate_pair_is_refused(api):
    answer = api.request(
        "POST", CHECK, content='{"content": "x = 1\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status == 400


def test_a_source_may_be_large_and_not_endless(api):
    large = GOOD + "\n" + "\n".join(f"x{n} = {n}" for n in range(15_000)) + "\n"
    assert len(large) > 180_000
    assert api.post(CHECK, {"content": large}).json["ok"] is True
    answer = api.post(CHECK, {"content": GOOD + "#" * 1_000_000})
    assert (answer.status, answer.error["message"]) == (
        413,
        (
            f"The source has {len(GOOD) + 1_000_000:,} characters; up to 1,000,000 are checked. "
            "Let the function fetch what is data in it."
        ),
    )


def test_only_authors_may_check(bobs_api, author):
    assert bobs_api.post(CHECK, {"content": GOOD}).status == 403
    assert author("view_function").post(CHECK, {"content": GOOD}).status == 403
    assert author("change_function", scopes=("models",)).post(CHECK, {"content": GOOD}).status == 403
    assert author("change_function").post(CHECK, {"content": GOOD}).json["ok"] is True
