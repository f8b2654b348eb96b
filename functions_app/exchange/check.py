"""Tries everything that a plan would let serve, before anything is written: packages, code, policy, valves.

Code is run by the runtime, never here. What fails becomes a refusal with its reason, and the checks go on: whoever
asked hears of all problems at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError

from functions_app import configuration
from functions_app.exchange.plan import Change, Plan, Terms, valves_of
from functions_app.fields import UndecryptableValves
from functions_app.models import FunctionVersion, Valves
from functions_app.models.function import clean_name
from functions_app.runtime import InvalidValves, LoadError, RequirementError, get_runtime
from functions_app.valves import broken_rules, incompatibilities, properties, restored

Json = dict[str, Any]
Told = Callable[[str], None]


def check(plan: Plan, tell: Told = lambda id: None) -> None:
    """Fills in what the plan's functions say of themselves and the valves that they will have.

    ``tell`` is called with the id of each function that is about to be tried.
    """
    for change in plan.changes:
        if not change.is_tried:
            continue
        tell(change.id)
        try:
            _check(change, plan.terms)
        except (RequirementError, UndecryptableValves) as error:
            change.refuse(f"{change.id}: {error}")
        except ValidationError as error:
            change.refuse(f"{change.id}: {' '.join(error.messages)}")
        except InvalidValves as error:
            change.refuse(f"{change.id}: the valves do not fit its code, or rules on them: {error}")
        except LoadError as error:
            line = f" (line {error.error['line']})" if error.error.get("line") else ""
            change.refuse(f"{change.id} does not load: {error}{line}")


def _check(change: Change, terms: Terms) -> None:
    function = change.function
    assert function is not None
    function.name = clean_name(function.name)
    if change.version is not None:
        function.policy = change.fields.get("policy", function.policy)
        if change.version._state.adding:
            change.version.seal()
        if change.entry is not None and change.entry.packages is not None:
            get_runtime().adopt(change.version, change.entry.packages, lambda told: None)
        change.manifest = change.version.manifest = change.version.inspected()
    elif function.live is not None:
        change.manifest = function.live.manifest
    if terms.serve:
        _check_valves(change, valves_of(change, terms))


def _check_valves(change: Change, wanted: Json | None) -> None:
    """Tries the valves that the function will have, and the rules on them, against the code that it will have."""
    row, manifest = change.stored_valves, change.manifest or {}
    version = change.version or (change.function.live if change.function is not None else None)
    if version is None:
        return
    resets = wanted is not None and change.entry is not None and change.entry.resets_valves
    if manifest.get("valves") is None and not resets:
        if wanted:
            change.notes.append("It has no valves, so those given are left out.")
        wanted = None
    if wanted is None:
        if change.version is not None and row is not None:
            row.check_fit(version, manifest)
        return
    # What is to be taken back to the defaults need not be readable.
    stored = {} if row is None or resets else row.values
    rules, user_rules = (row.rules, row.user_rules) if row is not None else ({}, {})
    values = {} if resets else _kept(change, version, wanted, stored, rules)
    if change.version is not None:
        configuration.check_fit(version, manifest, values, {"valves": rules, "user_valves": user_rules})
    if values != stored or (resets and not _is_empty(row)):
        change.valves = values
        change.because("valves")


def _is_empty(row: Valves | None) -> bool:
    try:
        return row is None or not row.values
    except UndecryptableValves:
        return False


def _kept(change: Change, version: FunctionVersion, wanted: Json, stored: Json, rules: Json) -> Json:
    """Returns what is to be stored. Raises ``InvalidValves``.

    A required value that is missing is no reason to refuse: exports leave secrets out, and those are set here.
    """
    try:
        return configuration.kept(version, "valves", wanted, stored, rules)
    except InvalidValves as error:
        if incompatibilities(error.errors):
            raise
        missing = ", ".join(".".join(map(str, found["loc"])) for found in error.errors)
    schema = (version.manifest or {}).get("valves")
    fields = properties(schema)
    values = {name: value for name, value in restored(schema, wanted, stored)[0].items() if name in fields}
    if errors := broken_rules(values, rules):
        raise InvalidValves(errors)
    change.notes.append(f"It needs values for {missing}; set them here.")
    return values
