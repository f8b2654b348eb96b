"""The valves that calls get: what administrators and users set, within administrators' rules."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from functions_app.fields import Sealed, UndecryptableValves
from functions_app.models import Valves
from functions_app.valves import Rules, holding

logger = logging.getLogger(__name__)

Values = dict[str, Any]


class Row(NamedTuple):
    """A row of valves in memory: its ciphertext, what that says or why it can't be read, and both sorts of rules."""

    token: str
    values: Values
    error: str
    rules: Rules
    user_rules: Rules


def read_all(held: dict[str, Row]) -> dict[str, Row]:
    """Returns all rows by function id; of those ``held`` only changed ciphertexts are decrypted."""
    found: dict[str, Row] = {}
    rows = Valves.objects.values_list("function_id", "values", "rules", "user_rules")
    for function_id, sealed, rules, user_rules in rows:
        before = held.get(function_id)
        if before is not None and before.token == sealed.token:
            found[function_id] = before._replace(rules=rules, user_rules=user_rules)
            continue
        values, error = opened(sealed)
        if error:
            logger.error("Valves of function %s: %s", function_id, error)
        found[function_id] = Row(sealed.token, values, error, rules, user_rules)
    return found


def opened(sealed: Sealed) -> tuple[Values, str]:
    """Returns the values that are set, and why they can't be read when they can't."""
    try:
        return {name: value for name, value in sealed.open().items() if value is not None}, ""
    except UndecryptableValves as error:
        return {}, str(error)


def ruled(schema: Any, values: Values, rules: Rules) -> tuple[Values, str]:
    """Returns the values that hold under rules, and which rule leaves none to use."""
    held, errors = holding(schema, values, rules)
    if not errors:
        return held, ""
    said = "; ".join(f"{error['loc'][0]}: {error['msg']}" for error in errors)
    return {}, f"A rule on its valves allows neither what is set nor the default of its code. {said}"


def set_by_admin(row: Valves | None, schema: Any) -> tuple[Values, str]:
    """Returns the valves that calls get of a stored row, and why they get none."""
    if row is None:
        return {}, ""
    try:
        values = {name: value for name, value in row.values.items() if value is not None}
    except UndecryptableValves as error:
        return {}, str(error)
    return ruled(schema, values, row.rules)
