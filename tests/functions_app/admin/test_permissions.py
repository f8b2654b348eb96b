"""Who may open and use which page: nobody without the page's own permission."""

from __future__ import annotations

import pytest

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
    "policy": f"{BASE}hello/policy/",
    "valves list": "/admin/functions_app/valves/",
    "models": "/admin/functions_app/model/",
    "users": "/admin/functions_app/user/",
    "files": "/admin/functions_app/file/",
    "environments": "/admin/functions_app/environment/",
    "groups": "/admin/auth/group/",
}
OPENS = {
    "view_function": {"list", "change", "history", "versions", "version"},
    "change_function": {"list", "change", "history", "versions", "version"},
    "add_function": {"add", "list"},
    "delete_function": {"delete", "list"},
    "publish_function": set(),
    "change_policy": {"policy"},
    "change_valves": {"valves", "valves list"},
    "view_valves": set(),
    "view_model": {"models"},
    "view_user": {"users"},
    "view_file": {"files"},
    "view_environment": {"environments"},
}


@pytest.fixture
def function():
    return make_function("hello", with_valves("size: int = 1"))


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
    opened = {name for name, url in PAGES.items() if client.get(url).status_code == 200}
    assert opened - {"list"} == OPENS[permission] - {"list"}


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
    assert (function.newest.state, function.live.number, function.is_active) == ("draft", 1, True)
    assert "Version 2 was saved as a draft: somebody who may publish has to let it serve." in told(response)
    response = client.post(PAGES["list"], {"action": "deactivate", "_selected_action": ["hello"]}, follow=True)
    assert Function.objects.get().is_active


def test_who_may_only_add_is_sent_home_after_adding(staff):
    response = staff("add_function").post(PAGES["add"], {"source": OTHER_PIPE, "id": "new", "_continue": "1"})
    assert response["Location"] == "/admin/"
    assert Function.objects.get().newest.state == "draft"


def test_a_publisher_publishes_versions(staff, function):
    version = make_version(function, OTHER_PIPE, publish=False)
    staff("view_function", "publish_function").post(PAGES["versions"], {"number": "2"})
    version.refresh_from_db()
    assert version.state == "live"


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
