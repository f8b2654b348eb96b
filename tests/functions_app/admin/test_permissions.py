"""Who may open and use which page: nobody without the page's own permission."""

from __future__ import annotations

import pytest

from functions_app import roles
from functions_app.models import Function
from tests.builders import make_function, make_version
from tests.functions_app.sources import OTHER_PIPE, with_valves

pytestmark = pytest.mark.django_db

BASE = "/admin/functions_app/function/"
PAGES = {
    "list": BASE,
    "add": f"{BASE}add/",
    "change": f"{BASE}hello/change/",
    "delete": f"{BASE}hello/delete/",
    "history": f"{BASE}hello/history/",
    "versions": f"{BASE}hello/versions/",
    "version": f"{BASE}hello/versions/1/",
    "valves": f"{BASE}hello/valves/",
    "rules": f"{BASE}hello/valves/rules/",
    "policy": f"{BASE}hello/policy/",
    "valves list": "/admin/functions_app/valves/",
    "models": "/admin/functions_app/model/",
    "users": "/admin/functions_app/user/",
    "files": "/admin/functions_app/file/",
    "environments": "/admin/functions_app/environment/",
    "groups": "/admin/auth/group/",
    "activity": f"{BASE}hello/activity/",
    "isolation": "/admin/isolation/",
    "runs": "/admin/pipeline_app/run/",
    "destinations": "/admin/pipeline_app/destination/",
    "trips": "/admin/pipeline_app/trip/",
    "outbox": "/admin/functions_app/outboxevent/",
    "keys": "/admin/pipeline_app/apikey/",
}
OF_A_FUNCTION = {"list", "change", "history", "versions", "version", "activity"}
OPENS = {
    roles.USE: set(),
    roles.VIEW: {*OF_A_FUNCTION, "isolation"},
    roles.AUTHOR: {*OF_A_FUNCTION, "add", "delete"},
    roles.ACTIVATE: set(),
    roles.CONFIGURE: {"valves", "valves list", "rules"},
    roles.SET_POLICY: {"policy"},
    roles.AUDIT: {"runs", "destinations", "trips", "outbox"},
    # What is no role opens what Django's permissions of that name open, and nothing of functions.
    "pipeline_app.view_trip": set(),
    "view_model": {"models"},
    "view_user": {"users"},
    "view_file": {"files"},
    "view_environment": {"environments"},
    "auth.view_group": {"groups"},
    "pipeline_app.view_apikey": {"keys"},
}
ACTIONS = {
    roles.VIEW: set(),
    roles.AUTHOR: {"delete_selected"},
    roles.ACTIVATE: {
        "publish_newest", "activate", "deactivate", "make_global", "make_not_global", "restart", "load_again",
    },
}  # fmt: skip


@pytest.fixture
def function():
    return make_function("hello", with_valves("size: int = 1"), is_active=False)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", PAGES)
def test_staff_without_permissions_are_refused_everywhere(staff, function, page, method):
    assert getattr(staff(), method)(PAGES[page]).status_code == 403


@pytest.mark.parametrize("page", PAGES)
def test_who_is_no_staff_is_sent_to_the_login(client, bob, function, page):
    client.force_login(bob)
    response = client.get(PAGES[page])
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("permission", OPENS)
def test_a_permission_opens_its_pages_and_no_others(staff, function, permission):
    client = staff(permission)
    assert {name for name, url in PAGES.items() if client.get(url).status_code == 200} == OPENS[permission]


def test_every_role_is_in_the_table():
    assert set(roles.ROLES) <= set(OPENS)


@pytest.mark.parametrize("permission", ACTIONS)
def test_the_list_offers_the_actions_that_one_may_take(staff, function, permission):
    page = staff(roles.VIEW, permission).get(PAGES["list"])
    form = page.context.get("action_form")
    offered = {name for name, _ in form.fields["action"].choices if name} if form is not None else set()
    assert offered == ACTIONS[permission]


@pytest.mark.parametrize("permission", sorted(set(roles.ROLES) - {roles.ACTIVATE}))
@pytest.mark.parametrize("action", sorted(ACTIONS[roles.ACTIVATE]))
def test_an_action_that_is_not_offered_does_nothing(staff, function, permission, action):
    Function.objects.filter(pk="hello").update(is_active=action == "deactivate", is_global=action == "make_not_global")
    before = Function.objects.values().get()
    staff(roles.VIEW, permission).post(PAGES["list"], {"action": action, "_selected_action": ["hello"]})
    assert Function.objects.values().get() == before


def test_an_author_deletes_what_is_switched_off_and_a_publisher_what_is_on(staff, function):
    Function.objects.filter(pk="hello").update(is_active=True)
    client = staff(roles.AUTHOR)
    assert client.get(PAGES["delete"]).status_code == 403
    assert client.post(PAGES["delete"], {"post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": ["hello"], "post": "yes"}
    assert client.post(PAGES["list"], selected).status_code == 403
    assert Function.objects.exists()
    assert staff(roles.AUTHOR, roles.ACTIVATE).post(PAGES["delete"], {"post": "yes"}).status_code == 302
    assert not Function.objects.exists()


def test_an_author_deletes_a_function_with_its_valves(staff):
    function = make_function("hello", with_valves("size: int = 1"), is_active=False, valves={"size": 2})
    assert staff(roles.AUTHOR).post(PAGES["delete"], {"post": "yes"}).status_code == 302
    assert not Function.objects.filter(pk=function.pk).exists()


@pytest.mark.parametrize("form", ["key", "user"])
def test_nobody_gets_more_rights_through_somebody_who_has_them(staff, form, bob):
    from django.contrib.auth.models import Permission

    bob.user_permissions.add(Permission.objects.get(codename="publish_function"))
    if form == "key":
        few = staff("pipeline_app.add_apikey", "pipeline_app.view_apikey")
        add = {"user": str(bob.pk), "label": "mine"}
        refused = few.post(f"{PAGES['keys']}add/", add)
        assert "This person may more than you do" in refused.content.decode()
        assert not bob.api_keys.exists()
        more = staff("pipeline_app.add_apikey", "pipeline_app.view_apikey", roles.ACTIVATE)
        assert more.post(f"{PAGES['keys']}add/", add).status_code == 302
        assert bob.api_keys.count() == 1
    else:
        url = f"{PAGES['users']}{bob.pk}/password/"
        assert staff("change_user").get(url).status_code == 403
        assert staff("change_user", roles.ACTIVATE).get(url).status_code == 200


def test_only_superusers_say_what_a_group_may(staff, admin):
    from django.contrib.auth.models import Group, Permission

    group = Group.objects.create(name="Friends")
    data = {"name": "Family", "permissions": [Permission.objects.get(codename="publish_function").pk]}
    url = f"{PAGES['groups']}{group.pk}/change/"
    assert staff("auth.change_group").post(url, data).status_code == 302
    group.refresh_from_db()
    assert (group.name, group.permissions.count()) == ("Family", 0)
    assert admin.post(url, data).status_code == 302
    assert group.permissions.count() == 1


def test_viewers_see_the_code_and_cannot_change_it(staff, function):
    client = staff("view_function")
    page = client.get(PAGES["change"]).content.decode()
    assert '<pre class="functions-code">from pydantic' in page
    assert "<textarea" not in page
    assert client.post(PAGES["change"], {"source": OTHER_PIPE, "name": "X"}).status_code == 403
    assert client.post(PAGES["versions"], {"number": "1"}).status_code == 403


def test_who_may_change_but_not_publish_saves_drafts(staff, function, told):
    client = staff("change_function")
    data = {"name": "Hello", "source": OTHER_PIPE, "base": "1", "is_active": "", "_continue": "1"}
    response = client.post(PAGES["change"], data, follow=True)
    function.refresh_from_db()
    assert (function.newest.state, function.live.number, function.is_active) == ("draft", 1, False)
    assert "Version 2 was saved as a draft: somebody who may publish has to let it serve." in told(response)


def test_an_author_adds_a_function_as_a_draft(staff):
    staff(roles.AUTHOR).post(PAGES["add"], {"source": OTHER_PIPE, "id": "new", "_continue": "1"})
    function = Function.objects.get()
    assert (function.newest.state, function.live, function.is_active) == ("draft", None, False)


def test_a_publisher_publishes_versions(staff, function):
    version = make_version(function, OTHER_PIPE, publish=False)
    staff("view_function", "publish_function").post(PAGES["versions"], {"number": "2"})
    version.refresh_from_db()
    assert version.state == "live"


def test_an_older_version_gets_back_the_name_that_it_served_under(staff, function):
    first, before = function.live, function.name
    assert make_version(function, OTHER_PIPE).state == "live"
    function.change(name="Renamed")
    staff("view_function", "publish_function").post(PAGES["versions"], {"number": str(first.number)})
    function.refresh_from_db()
    assert (function.live, function.name) == (first, before)


def test_the_links_shown_are_those_that_work(staff, function):
    page = staff("view_function").get(PAGES["change"]).content.decode()
    assert PAGES["versions"] in page and PAGES["valves"] not in page and PAGES["policy"] not in page
    page = staff("view_function", "change_valves", "change_policy").get(PAGES["change"]).content.decode()
    assert PAGES["valves"] in page and PAGES["policy"] in page


@pytest.mark.parametrize("page", ["versions", "version", "valves", "policy"])
def test_unknown_functions_are_not_found(admin, page):
    assert admin.get(PAGES[page]).status_code == 404


@pytest.mark.parametrize("number", ["0", "9", "x", "", "²", "9" * 30])
def test_unknown_versions_are_not_found(admin, function, number):
    assert admin.post(PAGES["versions"], {"number": number}).status_code == 404
