"""Who may do what with functions over HTTP, door by door."""

from __future__ import annotations

import pytest

from tests.builders import make_function, make_version
from tests.pipeline_app.conftest import API

ID = "/api/v1/functions/id/{}"
SOURCE = "class Pipe:\n    def pipe(self, body):\n        return 'hi'\n"

DOORS = [
    ("GET", "/api/v1/functions/", "use_function", None),
    ("GET", "/api/v1/functions/", "view_function", None),
    ("GET", "/api/v1/functions/list", "view_function", None),
    ("POST", "/api/v1/functions/create", "change_function", {"id": "other", "content": SOURCE}),
    ("GET", ID, "view_function", None),
    ("GET", ID, "change_function", None),
    ("POST", ID + "/update", "change_function", {"name": "Other"}),
    ("POST", ID + "/update/version", "publish_function", {"version_id": "{version}"}),
    ("POST", ID + "/toggle", "publish_function", None),
    ("POST", ID + "/toggle/global", "publish_function", None),
    ("GET", ID + "/history", "view_function", None),
    ("GET", ID + "/history/{version}", "view_function", None),
    ("GET", ID + "/history/diff?from_id={version}&to_id={version}", "view_function", None),
    ("DELETE", ID + "/history/{older}", "change_function", None),
    ("DELETE", ID + "/delete", "change_function", None),
    ("GET", ID + "/policy", "view_function", None),
    ("GET", ID + "/policy", "change_policy", None),
    ("POST", ID + "/policy", "change_policy", {"threads": 8}),
    ("POST", ID + "/run", "change_function", {"hook": "pipe"}),
    ("GET", ID + "/stats", "view_function", None),
]
IDS = [f"{method} {path} {permission}" for method, path, permission, _ in DOORS]


@pytest.fixture
def door(base_packages, changed, settings):
    """Knocks at a door of the inactive function "greeter", which has two versions."""
    settings.FUNCTIONS_EVERYBODY = []
    function = make_function("greeter", SOURCE, is_active=False)
    older = function.newest
    newer = make_version(function, SOURCE.replace("hi", "hello"))
    changed()

    def knock(api, method, path, body=None, id="greeter"):
        words = {"{version}": str(newer.pk), "{older}": str(older.pk), "{}": id}
        for word, value in words.items():
            path = path.replace(word, value)
        given = {} if body is None else {"json": {k: words.get(v, v) for k, v in body.items()}}
        return api.request(method, path, **given)

    return knock


@pytest.mark.parametrize(("method", "path", "permission", "body"), DOORS, ids=IDS)
def test_each_door_opens_to_its_permission_and_scope(method, path, permission, body, author, door):
    refused = door(author(permission, scopes=("models",)), method, path, body)
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert "scope 'functions'" in refused.error["message"]
    refused = door(author("view_model"), method, path, body)
    assert (refused.status, refused.error["code"]) == (403, "insufficient_permissions")
    assert f"'functions_app.{permission}'" in refused.error["message"]
    assert refused.json["detail"] == refused.error["message"]
    refused = door(API(None), method, path, body)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    opened = door(author(permission, scopes=("functions",)), method, path, body)
    assert opened.status == 200, opened.text


@pytest.mark.parametrize("id", ["nobody", "a%00b", "gr%00eeter", "x" * 300, "%F0%9F%92%A9"])
def test_an_unknown_function_is_404(id, api, door):
    for method, path, _, body in DOORS:
        if "{}" in path:
            answer = door(api, method, path, body, id=id)
            assert (answer.status, answer.error["code"]) == (404, "function_not_found"), path
            assert answer.error["message"].startswith("There is no function '")


def test_a_permission_taken_away_is_gone_with_the_next_request(author, bob, door, changed):
    api = author("view_function")
    assert door(api, "GET", ID + "/stats").status == 200
    bob.user_permissions.clear()
    changed()
    assert door(api, "GET", ID + "/stats").status == 403


def test_loading_from_an_address_is_for_authors(author, bobs_api, fresh_snapshot):
    path, body = "/api/v1/functions/load/url", {"url": "https://127.0.0.1/main.py"}
    assert bobs_api.post(path, body).status == 403
    assert API(None).post(path, body).status == 401
    assert author("change_function", scopes=("models",)).post(path, body).status == 403
    assert author("change_function").post(path, body).error["code"] == "url_not_allowed"


# --- More than one permission -----------------------------------------------------------------------------


def test_an_active_function_is_deleted_only_by_who_may_publish_too(author, pipe):
    function = pipe("greeter", "return 'hi'")
    refused = author("change_function").request("DELETE", ID.format("greeter") + "/delete")
    assert refused.status == 403
    assert refused.error["message"] == (
        "Function 'greeter' is active: deleting it needs the permission 'functions_app.publish_function', too. "
        "Ask somebody who has it to switch it off."
    )
    function.refresh_from_db()
    both = author("change_function", "publish_function")
    assert both.request("DELETE", ID.format("greeter") + "/delete").json is True


def test_who_may_publish_but_not_look_inside_sees_no_source(author, door):
    api = author("publish_function")
    for path, body in (("/toggle", None), ("/update/version", {"version_id": "{older}"})):
        told = door(api, "POST", ID + path, body).json
        assert (told["id"], told["content"]) == ("greeter", "")
    broken = door(author("change_function"), "POST", ID + "/update", {"content": SOURCE + "\nraise ValueError('no')\n"})
    body = {"version_id": broken.json["version_id"]}
    refused = door(author("publish_function"), "POST", ID + "/update/version", body).json["load_error"]
    assert (refused["message"], refused["line"], refused["traceback"]) == ("no", 5, None)


def test_publishing_alone_does_not_let_one_write(author, pipe):
    pipe("greeter", "return 'hi'")
    assert author("publish_function").post(ID.format("greeter") + "/update", {"content": SOURCE}).status == 403
