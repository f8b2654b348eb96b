from __future__ import annotations

import json

import pytest

from tests.builders import make_user

pytestmark = pytest.mark.django_db

KEYS = [
    "id",
    "email",
    "username",
    "role",
    "name",
    "profile_image_url",
    "profile_banner_image_url",
    "bio",
    "gender",
    "date_of_birth",
    "timezone",
    "presence_state",
    "status_emoji",
    "status_message",
    "status_expires_at",
    "info",
    "settings",
    "oauth",
    "scim",
    "last_active_at",
    "updated_at",
    "created_at",
]


@pytest.mark.parametrize(
    ("flags", "role"),
    [
        ({}, "user"),
        ({"is_staff": True}, "user"),
        ({"is_superuser": True}, "admin"),
        ({"is_active": False}, "pending"),
        ({"is_active": False, "is_superuser": True}, "pending"),
    ],
)
def test_the_role_follows_djangos_flags(flags, role):
    assert make_user(**flags).role == role


def test_functions_see_plain_json_with_every_key_and_no_password():
    user = make_user("bob", email="bob@example.org", password="hidden", first_name="Bob", info={"a": 1})
    wire = user.to_wire()
    assert list(wire) == KEYS
    assert json.loads(json.dumps(wire)) == wire
    assert (wire["id"], wire["name"], wire["role"]) == (str(user.pk), "Bob", "user")
    assert wire["profile_image_url"] is None
    assert user.password not in json.dumps(wire)


def test_what_a_function_does_to_it_stays_with_the_function():
    user = make_user(settings={"ui": {"a": 1}})
    user.to_wire()["settings"]["ui"]["a"] = 2
    assert user.settings == {"ui": {"a": 1}}


def test_a_person_without_a_name_goes_by_the_user_name():
    assert make_user("carol").to_wire()["name"] == "carol"
