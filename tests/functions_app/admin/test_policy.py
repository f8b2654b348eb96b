from __future__ import annotations

import pytest

from tests.builders import make_function
from tests.functions_app.admin.test_function import form_data

pytestmark = pytest.mark.django_db

URL = "/admin/functions_app/function/hello/policy/"


@pytest.fixture
def function():
    return make_function("hello")


def save(client, **changes):
    page = client.get(URL)
    data = form_data(page)
    del data["_continue"]
    data["grants"] = page.context["form"]["grants"].value()
    return client.post(URL, data | changes, follow=True)


def test_an_untouched_form_sets_nothing(admin, function):
    save(admin)
    function.refresh_from_db()
    assert function.policy == {}


def test_what_is_typed_is_set_and_what_is_emptied_goes_back(admin, function, told):
    response = save(
        admin,
        on_error="skip",
        memory_mb="1024",
        cpu_limit="0.5",
        time_limit="pipe: 20\nstream: 2",
        allow="a.example\n10.0.0.0/8",
        grants=["events"],
        import_rule="deny",
        imports="os\nctypes",
    )
    assert told(response) == ["The policy of “Echo” was changed."]
    function.refresh_from_db()
    assert function.policy == {
        "on_error": "skip",
        "memory_mb": 1024,
        "cpu_limit": 0.5,
        "time_limit": {"pipe": 20.0, "stream": 2.0},
        "allow": ["a.example", "10.0.0.0/8"],
        "grants": ["events"],
        "imports": {"deny": ["os", "ctypes"]},
    }
    before = function.policy
    save(admin)
    function.refresh_from_db()
    assert function.policy == before
    save(admin, on_error="", memory_mb="", time_limit="30", allow="", import_rule="")
    function.refresh_from_db()
    assert function.policy == {"cpu_limit": 0.5, "time_limit": 30.0, "grants": ["events"]}


def test_the_installations_defaults_are_what_an_empty_box_means(admin, function, settings):
    settings.FUNCTIONS_POLICY = {"defaults": {"grants": ["events"], "network": "none"}, "ceilings": {"memory_mb": 256}}
    page = admin.get(URL).content.decode()
    assert "Default (none)" in page and "Holds now: 256." in page
    save(admin, grants=["events", "models"], network="public")
    function.refresh_from_db()
    assert function.policy == {"grants": ["events", "models"], "network": "public"}
    assert "Default (none)" in admin.get(URL).content.decode()
    save(admin, grants=["events"])
    function.refresh_from_db()
    assert function.policy == {"network": "public"}


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("memory_mb", "64", "Must be a whole number of at least 128."),
        ("memory_mb", "x", "Enter a number."),
        ("threads", "0", "Must be a whole number of at least 1."),
        ("time_limit", "fast", "Must be a number greater than 0."),
        ("time_limit", "pipe: x", "pipe: Must be a number greater than 0."),
        ("allow", "a/b", "'a/b' is not a host, host:port, *.domain or CIDR."),
        ("network", "all", "Select a valid choice. all is not one of the available choices."),
    ],
)
def test_wrong_values_are_told_beside_their_field_and_kept(admin, function, field, typed, message):
    response = save(admin, **{field: typed})
    assert response.context["form"].errors == {field: [message]}
    function.refresh_from_db()
    assert function.policy == {}


@pytest.mark.parametrize(("runner", "said"), [("inline", True), ("process", False)])
def test_what_nothing_enforces_is_said(admin, function, settings, runner, said):
    settings.FUNCTIONS_RUNNER = runner
    assert ("nothing enforces them" in admin.get(URL).content.decode()) is said
