"""A real server with functions in it, as the tests of this folder need it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.load.scene import Scene
from tests.servers import Server


@pytest.fixture
def scene(server) -> Scene:
    """A running server, and alice's key to it once something is stored."""
    return Scene(server)


@pytest.fixture(scope="module")
def shared_scene(tmp_path_factory, base_packages, empty_database) -> Iterator[Scene]:
    """The same for tests of a module that do not disturb each other."""
    server = Server(tmp_path_factory.mktemp("scene") / "data", empty_database, environment={})
    server.start()
    yield Scene(server)
    server.stop()
