"""Examples under test are loaded as the server loads them; what they import comes from the base packages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_app.worker.loader import load
from tests.upstream import Upstream

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def example(base_packages) -> Callable[..., Any]:
    """Returns a function that loads an example: ``example("echo", pause=0.5)`` is an instance with these valves."""

    def instance_of(name: str, **valves: Any) -> Any:
        source = (EXAMPLES / f"{name}.py").read_text()
        instance = load(name, 1, hashlib.sha256(source.encode()).hexdigest(), source).instance
        instance.valves = instance.Valves(**valves)
        return instance

    return instance_of


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(api_key="sk-right") as running:
        yield running


@pytest.fixture
def emitted() -> list[dict[str, Any]]:
    """The events that ``emit`` was called with."""
    return []


@pytest.fixture
def emit(emitted) -> Callable[[dict[str, Any]], Any]:
    async def emitter(event: dict[str, Any]) -> None:
        emitted.append(event)

    return emitter
