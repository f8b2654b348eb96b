"""Functions read over HTTP: everybody's list, the list with owners, and one function."""

from __future__ import annotations

import pytest

from tests.builders import make_function, make_version

SOURCE = '''"""
title: Greeter
version: 1.2
author: alice
requirements: httpx
icon_url: data:image/png;base64,AAAA
internal: notes
"""


class Pipe:
    def pipe(self, body):
        return "hi"
'''
FILTER = '''"""
title: Mask
"""


class Filter:
    toggle = True

    def inlet(self, body):
        return body
'''

RESPONSE = ["version_id", "id", "user_id", "type", "name", "meta", "is_active", "is_global", "updated_at", "created_at"]
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
    function = make_function(
        "greeter", SOURCE, name="The Greeter", author=alice, meta={"description": "Greets.", "team": "blue"}
    )
    changed()
    return function


def test_the_list_has_open_webuis_keys_in_its_order_and_ours_after_them(api, greeter, alice):
    told = api.get("/api/v1/functions/").json
    assert [list(function) for function in told] == [[*RESPONSE, "number", "state"]]
    assert told[0] == {
        "version_id": str(greeter.live.pk),
        "id": "greeter",
        "user_id": str(alice.pk),
        "type": "pipe",
        "name": "The Greeter",
        "meta": {
            "description": "Greets.",
            "manifest": {
                "title": "Greeter",
                "version": "1.2",
                "author": "alice",
                "requirements": "httpx",
                "icon_url": "data:image/png;base64,AAAA",
                "internal": "notes",
            },
            "toggle": False,
            "team": "blue",
        },
        "is_active": True,
        "is_global": False,
        "updated_at": int(greeter.updated_at.timestamp()),
        "created_at": int(greeter.created_at.timestamp()),
        "number": 1,
        "state": "live",
    }


def test_users_see_active_functions_with_what_describes_them_and_nothing_else(bobs_api, greeter, changed):
    make_function("asleep", SOURCE, is_active=False)
    make_function("draft", SOURCE, is_active=True, publish=False)
    changed()
    told = bobs_api.get("/api/v1/functions/").json
    assert [function["id"] for function in told] == ["greeter"]
    assert told[0]["meta"] == {
        "description": "Greets.",
        "manifest": {
            "title": "Greeter",
            "version": "1.2",
            "author": "alice",
            "icon_url": "data:image/png;base64,AAAA",
        },
        "toggle": False,
    }
    assert "content" not in told[0]


def test_the_list_for_the_admin_has_owners_and_begins_with_what_changed_last(api, greeter, alice, changed):
    make_function("another", FILTER)
    greeter.save()
    changed()
    told = api.get("/api/v1/functions/list").json
    assert [(function["id"], function["user"]) for function in told] == [
        ("greeter", {"id": str(alice.pk), "name": "alice", "role": "admin", "email": "alice@example.org"}),
        ("another", None),
    ]
    assert [function["meta"]["toggle"] for function in told] == [False, True]
    assert list(told[0]) == [*RESPONSE, "user", "number", "state"]


def test_a_list_takes_the_same_number_of_queries_however_long_it_is(
    api, base_packages, changed, django_assert_num_queries
):
    from pipeline_app.api.functions.listing import FunctionListView

    for number in range(6):
        make_function(f"function_{number}", SOURCE, publish=number % 2 == 0)
    with django_assert_num_queries(3 + 3):  # the sources of the three that nothing is live of
        assert len(FunctionListView._all()) == 6


def test_one_function_comes_with_its_source_and_a_tag(api, greeter):
    answer = api.get("/api/v1/functions/id/greeter")
    told = answer.json
    assert list(told) == [*MODEL, "number", "state", "newest"]
    assert told["content"] == SOURCE
    assert told["newest"] == {
        "version_id": told["version_id"],
        "number": 1,
        "state": "live",
        "error": None,
        "environment": None,
    }
    assert answer.headers["etag"].startswith(f'"{told["version_id"]}.')


def test_the_live_source_is_shown_while_a_newer_one_is_broken(api, greeter, changed):
    make_version(greeter, SOURCE + "\nraise ValueError('no')\n")
    told = api.get("/api/v1/functions/id/greeter").json
    assert (told["content"], told["number"], told["state"]) == (SOURCE, 1, "live")
    newest = told["newest"]
    assert (newest["number"], newest["state"], newest["error"]["message"]) == (2, "broken", "no")
    assert newest["error"]["line"] == 15
    assert "raise ValueError" in newest["error"]["traceback"]


def test_the_newest_source_is_shown_where_nothing_is_live(api, base_packages, changed):
    make_function("sketch", SOURCE, publish=False)
    told = api.get("/api/v1/functions/id/sketch").json
    assert (told["content"], told["state"], told["type"]) == (SOURCE, "draft", "")
    assert told["meta"]["manifest"]["title"] == "Greeter"
    assert told["meta"]["description"] is None
