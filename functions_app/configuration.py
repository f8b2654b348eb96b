"""Valves against the code that they are for: what the function's own model makes of them, within administrators' rules.

No error that comes out of here says a secret, whatever an author's validators write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from functions_app.fields import storable
from functions_app.runtime import InvalidValves, LoadError, Scope, get_runtime
from functions_app.valves import (
    Rules,
    broken_rules,
    clean_rules,
    given_by,
    has_dynamic_options,
    holding,
    incompatibilities,
    masked,
    narrowed,
    properties,
    redacted,
    restored,
    same,
    texts_of_secrets,
    too_deep,
    unmasked,
)

if TYPE_CHECKING:
    from functions_app.models.user import User
    from functions_app.models.version import FunctionVersion

Values = Mapping[str, Any]

NOTHING: Values = MappingProxyType({})

LARGEST = 1_000_000
"""Characters that all values of one scope may have, as JSON."""
MOST_TRIES = 300
"""How many values of rules a function's model is asked about at once."""


def kept(
    version: FunctionVersion, scope: Scope, given: Values, stored: Values, rules: Rules, largest: int = LARGEST
) -> dict[str, Any]:
    """Returns what is to be stored of given values: as the version's own model keeps them, secrets that were not sent
    as they are ``stored``, nothing that a rule says by itself. Raises ``InvalidValves`` and ``LoadError``.
    """
    schema = (version.manifest or {}).get(scope)
    if too_deep(given):
        raise InvalidValves([{"loc": [], "msg": "The values are nested too deeply."}])
    too_long = [{"loc": [], "msg": f"The values are longer than {largest} characters."}]
    if len(json.dumps(given, default=str)) > largest:
        raise InvalidValves(too_long)
    wanted, errors = restored(schema, given, stored)
    if not errors and len(json.dumps(wanted, default=str)) > largest:
        errors = too_long
    if errors:
        raise InvalidValves(errors)
    rules = _known(rules, schema)
    ruled = given_by(rules, wanted)
    found = tried(version, scope, {**ruled, **wanted}, stored)
    if errors := broken_rules({name: value for name, value in found.items() if name in wanted}, rules):
        raise InvalidValves(errors)
    return {
        name: value
        for name, value in found.items()
        if "fixed" not in rules.get(name, {}) and (name in wanted or name not in ruled)
    }


def tried(version: FunctionVersion, scope: Scope, values: Values, stored: Values = NOTHING) -> dict[str, Any]:
    """Returns values as the version's own model keeps them. Raises ``InvalidValves`` and ``LoadError``, whose messages
    repeat no secret of the values or of what is ``stored``."""
    schema = (version.manifest or {}).get(scope)
    given = {name: value for name, value in values.items() if value is not None}
    try:
        found: dict[str, Any] = unmasked(get_runtime().validate(version, scope, given), given)
        return found
    except InvalidValves as error:
        secrets = texts_of_secrets(schema, given) | texts_of_secrets(schema, stored)
        told = [{**entry, "msg": redacted(str(entry["msg"]), secrets)} for entry in error.errors]
        raise InvalidValves(told) from None
    except LoadError as error:
        secrets = texts_of_secrets(schema, given) | texts_of_secrets(schema, stored)
        data = {
            key: redacted(value, secrets) if isinstance(value, str) else value for key, value in error.error.items()
        }
        raise LoadError(data) from None


def schema_for(version: FunctionVersion, scope: Scope, user: User | None, rules: Rules) -> tuple[Any, str]:
    """Returns the schema with the options that the function computes for a user and narrowed by the rules, None when
    there is none; and a sentence when the options could not be had, which are then left as the code names them."""
    schema = (version.manifest or {}).get(scope)
    problem = ""
    if schema is not None and has_dynamic_options(schema):
        try:
            schema = get_runtime().options(version, scope, user) or schema
        except LoadError as error:
            problem = f"The choices that the function offers could not be had: {error}"
    return (None if schema is None else narrowed(schema, rules)), problem


def in_force(schema: Any, values: Values, rules: Rules) -> dict[str, Any]:
    """Returns what is set as it may be shown: without what the rules do not allow, with what they fix; masked."""
    known = _known(rules, schema)
    wrong = {error["loc"][0] for error in broken_rules(values, known)}
    fixed = {name: rule["fixed"] for name, rule in known.items() if "fixed" in rule}
    return masked(schema, {**{name: value for name, value in values.items() if name not in wrong}, **fixed})


def kept_rules(version: FunctionVersion, scope: Scope, given: Any, stored: Values) -> dict[str, dict[str, Any]]:
    """Returns rules as they are to be stored, their values as the version's own model keeps them.

    Raises ``InvalidValves`` for rules that are none, that fit neither schema nor model, and that ``stored`` breaks.
    """
    schema = (version.manifest or {}).get(scope)
    if too_deep(given):
        raise InvalidValves([{"loc": [scope], "msg": "The rules are nested too deeply."}])
    rules, errors = clean_rules(given, schema)
    if not same(storable(rules), rules):
        errors = [{"loc": [], "msg": "A text has a NUL character or half of a surrogate pair; remove it."}]
    if not errors:
        rules, errors = _agreed(version, scope, rules, properties(schema))
    if not errors:
        rules, errors = clean_rules(rules, schema)
    if not errors:
        checked = {name: rule for name, rule in rules.items() if "fixed" not in rule}
        for error in broken_rules(stored, checked):
            message = f"What is set now breaks this rule; change it first. {error['msg']}"
            errors.append({"loc": error["loc"], "msg": message})
    if not errors:
        errors = _together(version, scope, rules, stored)
    if errors:
        raise InvalidValves([{"loc": [scope, *error["loc"]], "msg": error["msg"]} for error in errors])
    return rules


def check_fit(
    version: FunctionVersion, manifest: Mapping[str, Any], values: Values, rules: Mapping[str, Rules]
) -> None:
    """Tries values and rules against a version that may serve next; see ``Valves.check_fit``."""
    version.manifest = dict(manifest)
    for scope in ("valves", "user_valves"):
        schema = manifest.get(scope)
        if schema is None:
            continue
        stored = values if scope == "valves" else {}
        known = _known(rules[scope], schema)
        _, errors = clean_rules(known, schema)
        held, more = holding(schema, stored, known)
        errors = errors or more
        if errors:
            raise InvalidValves(
                [{"loc": error["loc"], "msg": f"(an administrator's rule) {error['msg']}"} for error in errors]
            )
        if held:
            try:
                tried(version, scope, held)
            except InvalidValves as error:
                if unfit := incompatibilities(error.errors):
                    raise InvalidValves(unfit) from None


def _known(rules: Rules, schema: Any) -> dict[str, Mapping[str, Any]]:
    """Returns the rules on fields that there are: a rule stays when the code loses its field, and has no effect."""
    fields = properties(schema)
    return {name: rule for name, rule in rules.items() if name in fields}


def _agreed(
    version: FunctionVersion, scope: Scope, rules: dict[str, dict[str, Any]], fields: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Returns the rules with what they give and allow as the model keeps it, and what the model has against them."""
    errors: list[dict[str, Any]] = []
    tries = sum(len(rule.get("choices", ())) + ("fixed" in rule) + ("default" in rule) for rule in rules.values())
    if tries > MOST_TRIES:
        return rules, [{"loc": [], "msg": f"The rules name {tries} values; at most {MOST_TRIES} can be tried."}]
    agreed: dict[str, dict[str, Any]] = {}
    for name, rule in rules.items():
        agreed[name] = dict(rule)
        for key in ("fixed", "default"):
            if key in rule:
                agreed[name][key], said = _alone(version, scope, name, rule[key])
                errors += [{"loc": [name, key], "msg": message} for message in said]
        if "choices" in rule:
            listed = fields[name].get("type") == "array"
            agreed[name]["choices"] = []
            for index, choice in enumerate(rule["choices"]):
                value, said = _alone(version, scope, name, [choice] if listed else choice)
                if listed:
                    value = value[0] if isinstance(value, list) and len(value) == 1 else choice
                agreed[name]["choices"].append(value)
                errors += [{"loc": [name, "choices", index], "msg": message} for message in said]
    return agreed, errors


def _alone(version: FunctionVersion, scope: Scope, name: str, value: Any) -> tuple[Any, list[str]]:
    """Returns one value as the model keeps it, and what it has against it, whatever it says of other fields."""
    try:
        return tried(version, scope, {name: value}).get(name, value), []
    except InvalidValves as error:
        return value, [entry["msg"] for entry in incompatibilities(error.errors) if entry["loc"][:1] == [name]]


def _together(version: FunctionVersion, scope: Scope, rules: Rules, stored: Values) -> list[dict[str, Any]]:
    """Returns what the model has against the values that hold by the rules, beside those that are stored."""
    held, errors = holding((version.manifest or {}).get(scope), stored, rules)
    if errors or not held:
        return errors
    try:
        tried(version, scope, held)
    except InvalidValves as error:
        return incompatibilities(error.errors)
    return []
