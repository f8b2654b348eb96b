"""Users and groups, as functions may see and change them."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission

from functions_app.policy import DEFAULT_GRANTS, Policy
from tests.builders import make_user
from tests.pipeline_app.hostcalls.conftest import refusal

WRITE = Policy(grants=(*DEFAULT_GRANTS, "users.write"))


def test_users_are_found_by_address_by_those_who_may_view_users(ask, alice, bob):
    carol = make_user("carol", email="Carol@Example.org")
    bob.email = "bob@example.org"
    bob.save()
    assert ask(alice, "users.find", email="carol@example.ORG") == carol.to_wire()
    assert ask(bob, "users.find", email="carol@example.org") is None
    assert ask(bob, "users.find", email="BOB@example.org") == bob.to_wire()
    for email in ("", "nobody@example.org", "\x00"):
        assert ask(alice, "users.find", email=email) is None


def test_changing_users_is_in_no_default(ask, bob):
    assert refusal(ask, bob, "users.change", id=str(bob.pk), changes={}) == (
        "This function may not ask for users.change: its policy does not have the grant 'users.write'."
    )


def test_a_function_with_the_grant_changes_what_its_caller_may_change(ask, alice, bob):
    bob.settings = {"ui": {"theme": "dark", "lang": "en"}, "other": 1}
    bob.save()
    changes = {
        "name": "Bob  B.",
        "timezone": "Europe/Paris",
        "info": {"a": "\x00"},
        "profile_image_url": "/x.png",
        "settings": {"ui": {"theme": None, "size": 2}, "more": 2},
    }
    told = ask(bob, "users.change", policy=WRITE, id=str(bob.pk), changes=changes)
    bob.refresh_from_db()
    assert told == bob.to_wire()
    assert (told["name"], told["timezone"], told["profile_image_url"]) == ("Bob  B.", "Europe/Paris", "/x.png")
    assert told["settings"] == {"ui": {"lang": "en", "size": 2}, "other": 1, "more": 2}
    assert told["info"] == {"a": "\ufffd"}
    assert refusal(ask, bob, "users.change", policy=WRITE, id=str(alice.pk), changes={"name": "A"}) == (
        "The caller may not change other users: this needs the permission 'functions_app.change_user'."
    )
    assert ask(alice, "users.change", policy=WRITE, id=str(bob.pk), changes={"name": "B"})["name"] == "B"
    assert ask(alice, "users.change", policy=WRITE, id="nobody", changes={"name": "B"}) is None


@pytest.mark.parametrize("field", ["role", "is_superuser", "email", "password", "username", "id", "groups"])
def test_who_somebody_is_and_what_they_may_is_changed_by_no_function(ask, alice, bob, field):
    for who in (alice, bob):
        assert refusal(ask, who, "users.change", policy=WRITE, id=str(who.pk), changes={field: "admin"}) == (
            f"A function can't change '{field}' of a user; "
            "it can change name, profile_image_url, timezone, info, settings."
        )
    assert refusal(ask, bob, "users.change", policy=WRITE, id=str(bob.pk), changes={"name": ["x"]}) == (
        "'name' of a user must be text of at most 300 characters."
    )


def test_groups_are_ones_own_unless_one_may_view_groups(ask, alice, bob):
    few, many = Group.objects.create(name="few"), Group.objects.create(name="many")
    bob.groups.add(few)
    assert ask(bob, "groups.list") == [{"id": str(few.pk), "name": "few"}]
    assert ask(bob, "groups.list", user_id=str(bob.pk)) == [{"id": str(few.pk), "name": "few"}]
    assert ask(bob, "groups.list", user_id=str(alice.pk)) == []
    assert [group["name"] for group in ask(alice, "groups.list")] == ["few", "many"]
    assert [group["name"] for group in ask(alice, "groups.list", user_id=str(bob.pk))] == ["few"]
    assert ask(alice, "groups.list", user_id="nobody") == []
    assert ask(alice, "groups.members", id=str(few.pk)) == [str(bob.pk)]
    assert ask(bob, "groups.members", id=str(few.pk)) == []
    for id in ("", "x", "-1", "9" * 30, "²", str(many.pk)):
        assert ask(alice, "groups.members", id=id) == []


def test_a_permission_of_djangos_is_enough_to_view_groups(ask, bob):
    Group.objects.create(name="many")
    bob.user_permissions.add(Permission.objects.get(codename="view_group"))
    assert [group["name"] for group in ask(type(bob).objects.get(pk=bob.pk), "groups.list")] == ["many"]
