"""People with the permissions of a test's choice."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from pipeline_app.models import ApiKey
from tests.pipeline_app.conftest import API


@pytest.fixture
def author(bob, fresh_snapshot, base_packages):
    """Bob with the permissions of his choice: ``author("change_function")``."""

    def make(*codenames: str, scopes: tuple[str, ...] = ()) -> API:
        bob.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return API(ApiKey.objects.issue(bob, "tests", scopes)[1])

    return make
