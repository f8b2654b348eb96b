"""Rules: how an administrator narrows what valves may be, without touching the code.

``{field: {"minimum", "maximum", "choices", "pattern", "default", "fixed"}}``, all optional. In a list the first four
hold for each item. ``default`` holds where nothing is set, instead of the code's own; ``fixed`` holds in any case.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from functions_app.valves.patterns import LONGEST_VALUE, PatternError, pattern
from functions_app.valves.schema import Place, Schema, defaults, properties
from functions_app.valves.secrets import is_secret, masked, secret_fields

Rules = Mapping[str, Mapping[str, Any]]
Errors = list[dict[str, Any]]

KEYS = ("minimum", "maximum", "choices", "pattern", "default", "fixed")
MOST_CHOICES = 100
LONGEST_LIST = 20_000
"""Characters of all items of a list that patterns are looked for in."""
LARGEST = 50_000
"""Characters of all rules of one scope, as JSON."""

_NUMBERS = frozenset({"integer", "number"})


def incompatibilities(errors: Iterable[dict[str, Any]]) -> Errors:
    """Returns the errors that make stored valves unfit for new code: all but "a required value is missing"."""
    return [error for error in errors if error.get("type") != "missing" and error["msg"] != "Field required"]


# --- Values under rules ------------------------------------------------------------------------------------------


def broken_rules(values: Mapping[str, Any], rules: Rules | None) -> Errors:
    """Returns ``{"loc", "msg"}`` for each value that an admin's rule does not allow. No message says the value."""
    found: Errors = []
    for name, rule in (rules or {}).items():
        if values.get(name) is not None and (message := _objection(values[name], rule)):
            found.append({"loc": [name], "msg": message})
    return found


def _objection(value: Any, rule: Mapping[str, Any]) -> str:
    """Returns what a rule has against a value that is set; nothing where it allows it."""
    if "fixed" in rule:
        return "" if same(value, rule["fixed"]) else "An administrator has fixed this value."
    items = value if isinstance(value, list) else [value]
    if "pattern" in rule and sum(len(item) for item in items if isinstance(item, str)) > LONGEST_LIST:
        return f"Must have at most {LONGEST_LIST} characters in all."
    for item in items:
        if message := _item_objection(item, rule):
            return message
    return ""


def _item_objection(item: Any, rule: Mapping[str, Any]) -> str:
    if "choices" in rule and not any(same(item, choice) for choice in rule["choices"]):
        return f"Must be one of {', '.join(map(_shown, rule['choices']))}."
    if "minimum" in rule or "maximum" in rule:
        number = _number(item)
        if number is None:
            return "Must be a number."
        if "minimum" in rule and number < rule["minimum"]:
            return f"Must be at least {rule['minimum']}."
        if "maximum" in rule and number > rule["maximum"]:
            return f"Must be at most {rule['maximum']}."
    if "pattern" in rule:
        if not isinstance(item, str):
            return "Must be text."
        if len(item) > LONGEST_VALUE:
            return f"Must have at most {LONGEST_VALUE} characters."
        if not pattern(rule["pattern"]).found_in(item):
            return f"Must match the pattern {rule['pattern']}"
    return ""


def _number(value: Any) -> float | int | None:
    """Returns a number; also one that its type writes as text, as decimals do."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        found = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _shown(choice: Any) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice, ensure_ascii=False)


def given_by(rules: Rules | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what rules set by themselves beside the values: what they fix, and their defaults where none is set."""
    found: dict[str, Any] = {}
    for name, rule in (rules or {}).items():
        if "fixed" in rule:
            found[name] = rule["fixed"]
        elif "default" in rule and values.get(name) is None:
            found[name] = rule["default"]
    return found


def holding(schema: Schema | None, values: Mapping[str, Any], rules: Rules | None) -> tuple[dict[str, Any], Errors]:
    """Returns the values that a call gets, and an error for each field where a rule allows none that there is.

    What a rule fixes comes first and wins; a value that it no longer allows is as if it were not set.
    """
    kept = {name: value for name, value in values.items() if value is not None}
    if not rules:
        return kept, []
    known = properties(schema)
    rules = {name: rule for name, rule in rules.items() if name in known}
    for error in broken_rules(kept, rules):
        del kept[error["loc"][0]]
    given = given_by(rules, kept)
    held = {**given, **{name: value for name, value in kept.items() if name not in given}}
    # A secret whose default is empty is one that is not there.
    secrets = secret_fields(schema)
    standard = {
        name: value
        for name, value in defaults(schema).items()
        if name not in held and not (value == "" and name in secrets)
    }
    return held, broken_rules(standard, rules)


def effective(schema: Schema | None, values: Mapping[str, Any], rules: Rules | None = None) -> dict[str, Any]:
    """Returns all values that hold: the code's defaults, over them what is set, over both what rules say."""
    return {**defaults(schema), **holding(schema, values, rules)[0]}


def narrowed(schema: Schema, rules: Rules | None) -> dict[str, Any]:
    """Returns the schema with what the rules say, in the words of JSON schema: for forms and clients."""
    shown: dict[str, Any] = copy.deepcopy(dict(schema))
    fields = shown.get("properties")
    for name, rule in (rules or {}).items():
        if isinstance(fields, dict) and isinstance(fields.get(name), dict):
            _narrow(fields[name], rule, properties(schema)[name])
    return shown


def _narrow(prop: dict[str, Any], rule: Mapping[str, Any], plain: Schema) -> None:
    if "fixed" in rule:
        prop |= {"const": rule["fixed"], "default": rule["fixed"], "readOnly": True}
        return
    if "default" in rule:
        prop["default"] = rule["default"]
    place = prop
    if plain.get("type") == "array":
        place = prop["items"] = dict(plain.get("items") or {})
        plain = place
    if "choices" in rule:
        place["enum"] = rule["choices"]
        hint = prop.get("input")
        if isinstance(hint, dict) and isinstance(hint.get("options"), list):
            prop["input"] = {**hint, "options": _offered(hint["options"], rule["choices"])}
    for key, bound in (("minimum", max), ("maximum", min)):
        if key in rule:
            own = plain.get(key)
            place[key] = bound(own, rule[key]) if isinstance(own, int | float) else rule[key]
    if "pattern" in rule:
        if "pattern" in plain:
            place["allOf"] = [*(place.get("allOf") or ()), {"pattern": rule["pattern"]}]
        else:
            place["pattern"] = rule["pattern"]


def _offered(options: list[Any], choices: list[Any]) -> list[Any]:
    """Returns an option for each choice: the code's own, with its label, where there is one."""
    own = [
        (option["value"] if isinstance(option, dict) and "value" in option else option, option) for option in options
    ]
    return [next((option for value, option in own if same(value, choice)), choice) for choice in choices]


# --- Rules themselves --------------------------------------------------------------------------------------------


def clean_rules(given: Any, schema: Schema | None) -> tuple[dict[str, dict[str, Any]], Errors]:
    """Returns rules as they are stored, and ``{"loc", "msg"}`` for what is wrong with them, or contradicts the schema.

    Parts that are None, and fields without any part, are left out. Whether the function's own model accepts what they
    give and allow is for its worker to say.
    """
    if not isinstance(given, Mapping):
        return {}, [{"loc": [], "msg": "Rules are an object: a field's name, and under it the rule."}]
    fields, secrets = properties(schema), secret_fields(schema)
    result: dict[str, dict[str, Any]] = {}
    errors: Errors = []
    for name, rule in given.items():
        if rule is None:
            continue
        if not isinstance(rule, Mapping):
            errors.append({"loc": [name], "msg": f"A rule is an object with {', '.join(KEYS)}."})
            continue
        parts = {key: value for key, value in rule.items() if value is not None}
        if name not in fields:
            there = ", ".join(fields) or "none"
            errors.append({"loc": [name], "msg": f"There is no such field; there are: {there}."})
        elif name in secrets and not is_secret(schema, name):
            errors.append({"loc": [name], "msg": "There can be no rule on a field that has secrets inside."})
        elif _tells_secret(schema, name, parts):
            errors.append({"loc": [name], "msg": "A value has a secret inside, and rules can be read."})
        elif found := _wrong_parts(parts) or _unfit(parts, Place.of(schema).field(name), fields[name], name in secrets):
            errors += [{"loc": [name, *error["loc"]], "msg": error["msg"]} for error in found]
        elif parts:
            result[name] = parts
    if not errors and len(json.dumps(result)) > LARGEST:
        errors.append({"loc": [], "msg": f"The rules are longer than {LARGEST} characters."})
    return result, errors


def _tells_secret(schema: Schema | None, name: str, rule: Mapping[str, Any]) -> bool:
    """Whether a value that a rule names has something in it that is out of sight elsewhere, such as a header."""
    named = [
        rule.get("default"),
        rule.get("fixed"),
        *(rule["choices"] if isinstance(rule.get("choices"), list) else []),
    ]
    inside = [value for value in named if isinstance(value, list | dict)]
    return any(not same(masked(schema, {name: value})[name], value) for value in inside)


def _wrong_parts(rule: Mapping[str, Any]) -> Errors:
    """Returns what is wrong with a rule whatever it is about."""
    errors: Errors = []
    for key, value in rule.items():
        message = ""
        if key not in KEYS:
            message = f"There is no such part of a rule; there are {', '.join(KEYS)}."
        elif key in ("minimum", "maximum") and (
            isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300
        ):
            message = "This must be a number."
        elif key == "choices" and (not isinstance(value, list) or not 1 <= len(value) <= MOST_CHOICES):
            message = f"This must be a list of 1 to {MOST_CHOICES} values."
        elif key == "choices" and None in value:
            message = "null is no choice: it takes a value back to its default."
        elif key == "pattern":
            message = _wrong_pattern(value)
        if message:
            errors.append({"loc": [key], "msg": message})
    if not errors and rule.get("minimum", -math.inf) > rule.get("maximum", math.inf):
        errors.append({"loc": ["minimum"], "msg": "The minimum is greater than the maximum."})
    return errors


def _wrong_pattern(value: Any) -> str:
    if not isinstance(value, str):
        return "This must be text."
    try:
        pattern(value)
    except PatternError as error:
        return str(error)
    return ""


def _unfit(rule: Mapping[str, Any], place: Place, plain: Schema, secret: bool) -> Errors:
    """Returns how a rule contradicts its field's schema, or itself."""
    if secret and (shown := [key for key in ("choices", "default", "fixed") if key in rule]):
        message = "The field is secret, and rules can be read: set the value itself."
        return [{"loc": [key], "msg": message} for key in shown]
    types = place.item(0).types() if place.types() == {"array"} else place.types()
    for key in ("minimum", "maximum"):
        if key in rule and types and not types & _NUMBERS:
            return [{"loc": [key], "msg": f"The field is no number but {_listed(types)}."}]
    if "pattern" in rule and types and "string" not in types:
        return [{"loc": ["pattern"], "msg": f"The field is no text but {_listed(types)}."}]
    for key, other, beyond in (("minimum", "maximum", float.__gt__), ("maximum", "minimum", float.__lt__)):
        own = plain.get(other)
        if key in rule and isinstance(own, int | float) and beyond(float(rule[key]), float(own)):
            return [{"loc": [key], "msg": f"The code's own {other} is {own}: no value is left."}]
    bounds = {key: value for key, value in rule.items() if key in ("minimum", "maximum", "pattern")}
    for choice in rule.get("choices", ()):
        if message := _item_objection(choice, bounds):
            return [{"loc": ["choices"], "msg": f"{_shown(choice)}: {message}"}]
    limits = {**bounds, **({"choices": rule["choices"]} if "choices" in rule else {})}
    for key in ("default", "fixed"):
        if key in rule and (message := _objection(rule[key], limits)):
            return [{"loc": [key], "msg": f"The rule itself does not allow this: {message}"}]
    own = plain.get("default")
    if "fixed" in rule or "default" in rule or own is None or (secret and own == "") or not _objection(own, limits):
        return []
    if secret:
        return [{"loc": [], "msg": "The code's own default breaks this rule."}]
    said = "" if isinstance(own, list | dict) else f", {_shown(own)},"
    message = f'The code\'s own default{said} breaks this rule. Say in "default" what holds instead.'
    return [{"loc": [], "msg": message}]


def _listed(types: set[str]) -> str:
    return " or ".join(sorted(types))
