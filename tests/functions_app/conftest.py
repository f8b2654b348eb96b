"""Functions of these tests are loaded by the real runtime, which finds pydantic among the base packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).resolve().parent / "samples"


@pytest.fixture(autouse=True)
def _base(request):
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        request.getfixturevalue("base_packages")


@pytest.fixture
def sample(samples_can_be_had) -> list[dict[str, Any]]:
    """What Open WebUI's page downloads."""
    return json.loads((SAMPLES / "functions-export.json").read_text())


@pytest.fixture
def sample_with_valves(samples_can_be_had) -> list[dict[str, Any]]:
    """What Open WebUI's API exports with valves."""
    return json.loads((SAMPLES / "functions-export-with-valves.json").read_text())
