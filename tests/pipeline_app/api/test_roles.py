"""Who gets past which door, for every method of every route: no key, a key of another scope, a person who may not."""

from __future__ import annotations

import re

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ImproperlyConfigured
from django.urls import path

from functions_app.models import User
from functions_app.roles import ROLES, VIEW
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.schema import routes
from pipeline_app.models import ApiKey, Scope
from tests.pipeline_app.conftest import API
from tests.routes import doors, view_of
from tests.settings import CHECKOUT

pytestmark = pytest.mark.django_db

DOORS = [door for door in doors() if not door.view.is_open]
EACH = pytest.mark.parametrize("door", DOORS, ids=str)

OPEN = {"/healthz", "/health", "/readyz", "/api/schema/", "/api/docs/"}
PAGES = ("/", "/admin/", "/accounts/")
"""Where people sign in with a session; tests/functions_app/admin/test_permissions.py has who may open which page."""


@pytest.fixture
def nobody(fresh_snapshot, base_packages, settings):
    """Somebody with nothing but a key: what everybody may is taken away, too."""
    settings.FUNCTIONS_EVERYBODY = []
    return User.objects.create_user("nobody")


@pytest.fixture
def key_of(nobody, changed):
    """Gives a key to somebody with exactly these permissions: ``key_of({USE}, ["models"])``."""

    def give(permissions: set[str], scopes: list[str]) -> API:
        grant(nobody, permissions)
        changed()
        return API(ApiKey.objects.issue(nobody, "tests", scopes or None)[1])

    return give


def grant(user: User, permissions: set[str]) -> None:
    user.user_permissions.clear()
    for permission in permissions:
        app, _, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))


def knock(api: API, door) -> object:
    """Knocks with a body that nobody can read: who is refused is refused before it is looked at."""
    return api.request(door.method, door.path, **({"content": b"{"} if door.method not in ("GET", "HEAD") else {}))


def scopes_of(door) -> list[str]:
    return [door.view.scope] if door.view.scope else [Scope.MODELS]


def check_shape(answer, door, status: int, type_: str, code: str) -> None:
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    error = answer.error
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"], error["param"]) == (type_, code, None)
    assert (answer.json.get("detail") == error["message"]) is door.path.startswith("/api/")


# --- What is declared -----------------------------------------------------------------------------------


def test_every_route_is_a_door_an_open_one_or_a_page_of_people():
    for route, pattern in routes():
        view = view_of(pattern)
        if view is None:
            assert route == "/" or route.startswith(PAGES[1:]), f"{route} is no view of the API"
        else:
            assert view.is_open is (route in OPEN), route


@EACH
def test_each_method_declares_scope_and_permissions(door):
    assert door.view.scope == "" or door.view.scope in Scope.values
    assert door.method in door.view.permissions
    assert set(door.view.permissions[door.method]) <= set(ROLES)
    assert set(door.view.also_needed.get(door.method, ())) <= set(ROLES)


@EACH
def test_no_permission_is_declared_for_a_method_that_is_not_there(door):
    declared = {*door.view.permissions, *door.view.also_needed}
    assert all(hasattr(door.view, method.lower()) for method in declared)


def short(permission: str) -> str:
    return permission.partition(".")[2]


def table() -> str:
    """Returns the table of the docs: which doors a scope and a permission open. A view is named once."""
    rows: dict[tuple[str | None, str], list[str]] = {}
    named = set()
    for door in sorted(DOORS, key=lambda door: len(door.template)):
        if (door.view, door.method) in named and not door.template.startswith("/v1/"):
            continue
        named.add((door.view, door.method))
        permissions = " or ".join(f"`{short(p)}`" for p in door.view.permissions[door.method]) or "none"
        permissions += "".join(f", and `{short(p)}`" for p in door.view.also_needed.get(door.method, ()))
        path = re.sub(
            r"\{(\w+)_id\}", lambda found: "{sub}" if found[1] in ("event", "history") else "{id}", door.template
        )
        rows.setdefault((door.view.scope, permissions), []).append(f"`{door.method} {path}`")
    lines = [
        f"| {f'`{scope}`' if scope else 'any'} | {permissions} | {', '.join(sorted(paths, key=lambda p: p.strip('`').split()[::-1]))} |"
        for (scope, permissions), paths in sorted(rows.items(), key=lambda row: (row[0][0] or "", row[0][1]))
    ]
    return "\n".join(["| scope | permission | endpoints |", "| --- | --- | --- |", *lines])


def test_the_docs_say_which_scope_and_permission_each_needs():
    section = (CHECKOUT / "docs" / "api.md").read_text().partition("## Scopes and permissions\n")[2]
    found = section.partition("\n## ")[0]
    assert table() in found, f"docs/api.md is to say:\n\n{table()}"


# --- Refused --------------------------------------------------------------------------------------------


@EACH
def test_no_key_is_401(door, fresh_snapshot):
    answer = knock(API(None), door)
    check_shape(answer, door, 401, "authentication_error", "invalid_api_key")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@EACH
def test_an_unknown_key_is_401(door, fresh_snapshot):
    check_shape(knock(API("sk-unknown"), door), door, 401, "authentication_error", "invalid_api_key")


@pytest.mark.parametrize("door", [door for door in DOORS if door.view.scope], ids=str)
def test_a_key_without_the_scope_is_403_even_an_admins(door, alice, fresh_snapshot):
    others = [scope for scope in Scope.values if scope != door.view.scope]
    answer = knock(API(ApiKey.objects.issue(alice, "tests", others)[1]), door)
    check_shape(answer, door, 403, "permission_error", "insufficient_permissions")
    assert f"lacks the scope '{door.view.scope}'" in answer.error["message"]


@pytest.mark.parametrize("door", [door for door in DOORS if door.view.permissions.get(door.method)], ids=str)
def test_who_may_everything_else_is_403(door, key_of):
    needed = door.view.permissions[door.method]
    answer = knock(key_of(set(ROLES) - set(needed), scopes_of(door)), door)
    check_shape(answer, door, 403, "permission_error", "insufficient_permissions")
    assert all(repr(permission) in answer.error["message"] for permission in needed)


@pytest.mark.parametrize("door", [door for door in DOORS if door.view.also_needed.get(door.method)], ids=str)
def test_who_lacks_one_of_several_is_403(door, key_of):
    for permission in door.view.also_needed[door.method]:
        answer = knock(key_of(set(ROLES) - {permission}, scopes_of(door)), door)
        check_shape(answer, door, 403, "permission_error", "insufficient_permissions")
        assert answer.error["message"] == f"This needs the permission {permission!r}."


# --- Let in: the check can fail ----------------------------------------------------------------------------


@EACH
def test_each_declared_permission_alone_gets_past_the_door(door, key_of):
    for permission in door.view.permissions[door.method] or [None]:
        enough = {permission, *door.view.also_needed.get(door.method, ())} - {None}
        answer = knock(key_of(enough, scopes_of(door)), door)
        assert answer.status not in (401, 403, 500), f"{permission}: {answer.text[:300]}"


@pytest.mark.parametrize("route", sorted(OPEN))
def test_an_open_route_needs_no_key_and_minds_no_wrong_one(route, fresh_snapshot):
    assert API(None).get(route).status in (200, 503)
    assert API("sk-unknown").get(route).status in (200, 503)


# --- What nobody declared ------------------------------------------------------------------------------------


class Forgotten(AsyncAPIView):
    scope = "models"
    permissions = {"GET": (VIEW,)}

    async def get(self, request):
        return json_response({})

    async def post(self, request):
        return json_response({})


class Unscoped(AsyncAPIView):
    permissions = {"GET": ()}

    async def get(self, request):
        return json_response({})


class Urls:
    urlpatterns = [path("api/forgotten", Forgotten.as_view()), path("api/unscoped", Unscoped.as_view())]


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/api/forgotten", "Forgotten does not declare who may POST."),
        ("GET", "/api/unscoped", "Unscoped declares no scope."),
    ],
)
def test_what_is_not_declared_is_shut_even_to_admins(method, path, said, api, settings, caplog):
    settings.ROOT_URLCONF = Urls
    answer = api.request(method, path)
    assert answer.status == 500
    assert isinstance(caplog.records[-1].exc_info[1], ImproperlyConfigured)
    assert str(caplog.records[-1].exc_info[1]) == said


def test_head_needs_what_get_needs(settings, bobs_api, api):
    settings.ROOT_URLCONF = Urls
    assert bobs_api.request("HEAD", "/api/forgotten").status == 403
    assert api.request("HEAD", "/api/forgotten").status == 200


def test_a_method_that_a_route_lacks_is_405_behind_the_key(settings, bobs_api, fresh_snapshot):
    settings.ROOT_URLCONF = Urls
    assert API(None).request("DELETE", "/api/forgotten").status == 401
    answer = bobs_api.request("DELETE", "/api/forgotten")
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST, HEAD, OPTIONS"


# --- Where permissions come from --------------------------------------------------------------------------------

STATS = "/api/v1/functions/id/nothing/stats"


@pytest.mark.parametrize("way", ["person", "group", "permission of a group", "group deleted", "superuser"])
def test_what_is_given_and_taken_holds_for_the_next_request(way, nobody, transactional_db, base_packages):
    from pipeline_app.snapshot import snapshot

    permission = Permission.objects.get(codename="view_function")
    group = Group.objects.create(name="Viewers")
    api = API(ApiKey.objects.issue(nobody, "tests")[1])
    if way in ("permission of a group", "group deleted"):
        nobody.groups.add(group)
    if way == "group":
        group.permissions.add(permission)
    assert api.get(STATS).status == 403
    {
        "person": lambda: nobody.user_permissions.add(permission),
        "group": lambda: nobody.groups.add(group),
        "permission of a group": lambda: group.permissions.add(permission),
        "group deleted": lambda: group.permissions.add(permission),
        "superuser": lambda: User.objects.filter(pk=nobody.pk).update(is_superuser=True),
    }[way]()
    assert api.get(STATS).status == 404
    {
        "person": lambda: nobody.user_permissions.clear(),
        "group": lambda: nobody.groups.clear(),
        "permission of a group": lambda: group.permissions.clear(),
        "group deleted": lambda: group.delete(),
        "superuser": lambda: User.objects.filter(pk=nobody.pk).update(is_superuser=False),
    }[way]()
    assert api.get(STATS).status == 403
    assert snapshot.publication_error == ""


def test_what_everybody_may_is_a_setting(nobody, changed, settings, pipe):
    pipe("greeter", "return 'Hello'")
    api = API(ApiKey.objects.issue(nobody, "tests")[1])
    refused = api.chat("greeter")
    assert refused.status == 403
    assert refused.error["message"] == "This needs the permission 'functions_app.use_function'."
    settings.FUNCTIONS_EVERYBODY = ["functions_app.use_function"]
    changed()
    assert api.chat("greeter").content == "Hello"


def test_every_role_is_a_permission_that_exists(db):
    for role in ROLES:
        app, _, codename = role.partition(".")
        assert Permission.objects.filter(content_type__app_label=app, codename=codename).count() == 1, role


def test_the_urls_of_these_tests_are_those_of_the_site():
    assert django_settings.ROOT_URLCONF == "webui_functions.urls"
    assert not [door for door in DOORS if re.search(r"[{<]", door.path)]
