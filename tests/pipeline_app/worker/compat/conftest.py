"""What the tests of ``open_webui`` share: the package as author code imports it, forgotten after each test."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from pipeline_app.worker import compat


@pytest.fixture
def webui(base_packages) -> Any:
    """Imports a module below the package, or a name of one: ``webui("utils.misc")``, ``webui("env:VERSION")``."""
    compat.install()
    _forget()

    def find(name: str) -> Any:
        module, _, attribute = name.partition(":")
        found = importlib.import_module(f"open_webui.{module}" if module else "open_webui")
        if not attribute:
            return found
        space: dict[str, Any] = {}
        exec(f"from {found.__name__} import {attribute}", space)
        return space[attribute]

    yield find
    _forget()


def _forget() -> None:
    """Other tests bring packages of that name of their own."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "open_webui"]:
        del sys.modules[name]
