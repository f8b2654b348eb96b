"""Functions as others take them: the entries of Open WebUI's export files, in its keys and their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from functions_app import valves as valve_data
from functions_app import wire
from functions_app.fields import UndecryptableValves
from functions_app.models import Function, FunctionVersion, Valves

Json = dict[str, Any]


def entries(functions: Iterable[Function], *, valves: bool = False, tolerant: bool = False) -> list[Json]:
    """Returns a ``FunctionModel`` of each function, with ``valves`` a ``FunctionWithValvesModel``.

    The source is that of the version that serves, else of the newest. Secrets are always left out. Raises
    ``UndecryptableValves``; ``tolerant`` has None for valves that cannot be read.
    """
    return [told for told, _ in _told(functions, valves=valves, tolerant=tolerant)]


def with_policy(functions: Iterable[Function], *, valves: bool = False) -> Iterator[Json]:
    """Yields the same with the function's own ``policy``, for our own files."""
    for told, function in _told(functions, valves=valves):
        yield {**told, "policy": function.policy}


def _told(functions: Iterable[Function], *, valves: bool, tolerant: bool = False) -> Iterator[tuple[Json, Function]]:
    rows = list(functions)
    stored = {row.function_id: row for row in Valves.objects.filter(function__in=rows)} if valves else {}
    for function, version in wire.shown(rows, source=True):
        told = wire.model(function, version)
        if valves:
            told = _with_valves(told, _public(version, stored.get(function.pk), tolerant=tolerant))
        yield told, function


def _public(version: FunctionVersion | None, row: Valves | None, *, tolerant: bool) -> Json | None:
    """Returns the values that are set and are no secrets; none of a version that was never inspected."""
    if row is None:
        return {}
    try:
        return valve_data.public(((version and version.manifest) or {}).get("valves"), row.values)
    except UndecryptableValves:
        if tolerant:
            return None
        raise


def _with_valves(told: Json, valves: Json | None) -> Json:
    """Returns the entry with its valves after ``meta``, where Open WebUI has them."""
    made: Json = {}
    for key, value in told.items():
        made[key] = value
        if key == "meta":
            made["valves"] = valves
    return made
