"""Staff with exactly the permissions a test names, logged in to the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from tests.builders import make_user


@pytest.fixture
def admin(alice):
    """A browser in which alice is logged in."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def staff(db):
    """Logs in a member of staff with the named permissions of the data app."""

    def login(*codenames: str) -> Client:
        user = make_user(is_staff=True)
        found = Permission.objects.filter(content_type__app_label="functions_app", codename__in=codenames)
        assert {permission.codename for permission in found} == set(codenames)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return login


@pytest.fixture
def told():
    """Returns the messages that an answer shows, one text each."""

    def read(response) -> list[str]:
        return [str(message) for message in response.context["messages"]]

    return read
