"""People at the admin, and a way to read what a page says."""

from __future__ import annotations

import re
from html import unescape

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
    """Logs in a member of staff with the named permissions, ``app.codename`` each."""

    def login(*permissions: str) -> Client:
        user = make_user(is_staff=True)
        for permission in permissions:
            app, _, codename = permission.partition(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        client = Client()
        client.force_login(user)
        return client

    return login


@pytest.fixture
def words():
    """Returns the text of a page's content, white space collapsed."""

    def read(response) -> str:
        body = response.content.decode().partition('<div id="content"')[2]
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())

    return read
