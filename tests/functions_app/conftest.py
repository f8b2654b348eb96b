"""Functions of these tests are loaded by the real runtime, which finds pydantic among the base packages."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _base(request):
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        request.getfixturevalue("base_packages")
