"""Servers that several tests of one module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server


@pytest.fixture(scope="module")
def one_server(tmp_path_factory, base_packages, empty_database) -> Iterator[Server]:
    """A real server for the tests of a module that do not disturb each other."""
    server = Server(tmp_path_factory.mktemp("server") / "data", empty_database, environment={})
    server.start()
    yield server
    server.stop()
