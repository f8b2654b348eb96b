"""A real server with functions in it, as the tests of this folder need it."""

from __future__ import annotations

import pytest

from tests.load.scene import Scene


@pytest.fixture
def scene(server) -> Scene:
    """A running server, and alice's key to it."""
    return Scene(server)
