"""Valves as data: what a schema says, what was set over the defaults, secrets kept out of sight, admins' rules.

Schemas come from authors' code, so nothing here trusts their shape.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]

MASK = "********"

_SECRET_NAME = re.compile(
    r"(api|secret|access|private|encryption)_?keys?$|(token|secret|password|passphrase)$", re.IGNORECASE
)
_DEPTH = 20


# --- Reading a schema --------------------------------------------------------------------------


def properties(schema: Schema | None) -> dict[str, Schema]:
    """Returns the fields of a schema, references resolved, "or null" folded into ``nullable``."""
    found = (schema or {}).get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {name: _plain(prop, schema or {}) for name, prop in found.items() if isinstance(prop, Mapping)}


def _plain(prop: Schema, root: Schema, depth: int = 0) -> Schema:
    """Returns a property without indirection as far as it is one type; its own keys win over those it refers to."""
    merged = dict(prop)
    for _ in range(_DEPTH):
        if isinstance(reference := merged.pop("$ref", None), str):
            merged = {**_target(reference, root), **merged}
        elif isinstance(parts := merged.get("allOf"), list) and len(parts) == 1 and isinstance(parts[0], Mapping):
            del merged["allOf"]
            merged = {**parts[0], **merged}
        elif isinstance(parts := merged.get("anyOf"), list):
            kept = [part for part in parts if isinstance(part, Mapping) and part.get("type") != "null"]
            if len(kept) != 1:
                break
            del merged["anyOf"]
            merged = {**kept[0], **merged, "nullable": len(kept) < len(parts)}
        else:
            break
    if isinstance(items := merged.get("items"), Mapping) and depth < _DEPTH:
        merged["items"] = _plain(items, root, depth + 1)
    return merged


def _target(reference: str, root: Schema) -> Schema:
    target: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
    return target if isinstance(target, Mapping) else {}


def defaults(schema: Schema | None) -> dict[str, Any]:
    """Returns the values that the code gives to what nobody set; fields without a default are left out."""
    return {name: copy.deepcopy(prop["default"]) for name, prop in properties(schema).items() if "default" in prop}


def effective(
    schema: Schema | None, values: Mapping[str, Any], rules: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns the values that hold: set ones over the defaults, those that an admin's rule fixes over both."""
    fixed = {name: rule["fixed"] for name, rule in (rules or {}).items() if "fixed" in rule}
    return {**defaults(schema), **{name: value for name, value in values.items() if value is not None}, **fixed}


# --- Secrets -----------------------------------------------------------------------------------


def secret_fields(schema: Schema | None) -> frozenset[str]:
    """Returns the fields that are secrets or contain one: by type, by ``input`` hint, or by a telling name."""
    return frozenset(name for name, prop in properties(schema).items() if _secret(name, prop, schema or {}))


def _secret(name: str, prop: Schema, root: Schema, depth: int = 0) -> bool:
    hint = prop.get("input")
    if prop.get("writeOnly") is True or prop.get("format") == "password":
        return True
    if isinstance(hint, Mapping) and hint.get("type") == "password":
        return True
    if _SECRET_NAME.search(name) and prop.get("type") in (None, "string", "array", "object"):
        return True
    if depth > _DEPTH:
        return False
    inner = properties({"properties": prop.get("properties"), "$defs": root.get("$defs", {})})
    parts = [(part_name, part) for part_name, part in inner.items()]
    for key in ("items", "additionalProperties"):
        if isinstance(part := prop.get(key), Mapping):
            parts.append(("", part))
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(several := prop.get(key), list):
            parts += [("", part) for part in several if isinstance(part, Mapping)]
    return any(_secret(part_name, _plain(part, root), root, depth + 1) for part_name, part in parts)


def masked(schema: Schema | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values for eyes and logs: a secret that is set shows as asterisks.

    A value whose field the schema doesn't have may have been a secret once and is masked too.
    """
    known, secrets = properties(schema), secret_fields(schema)
    return {
        name: MASK if value not in (None, "") and (name in secrets or name not in known) else value
        for name, value in values.items()
    }


PYDANTIC_MASK = "**********"


def unmasked(kept: Any, given: Any) -> Any:
    """Returns ``kept`` with the secrets as they were ``given`` where a secret type wrote itself as asterisks."""
    if kept == PYDANTIC_MASK and isinstance(given, str):
        return given
    if isinstance(kept, dict) and isinstance(given, Mapping):
        return {name: unmasked(value, given.get(name)) for name, value in kept.items()}
    if isinstance(kept, list) and isinstance(given, (list, tuple)) and len(kept) == len(given):
        return [unmasked(one, other) for one, other in zip(kept, given, strict=True)]
    return kept


# --- Rules -------------------------------------------------------------------------------------


def incompatibilities(errors: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the errors that make stored valves unfit for new code: all but "a required value is missing"."""
    return [error for error in errors if error.get("type") != "missing" and error["msg"] != "Field required"]


def broken_rules(values: Mapping[str, Any], rules: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Returns ``{"loc", "msg"}`` for each value that an admin's rule does not allow."""
    errors: list[dict[str, Any]] = []
    for name, rule in (rules or {}).items():
        if values.get(name) is None:
            continue
        value = values[name]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if "fixed" in rule and value != rule["fixed"]:
            errors.append({"loc": [name], "msg": "An administrator has fixed this value."})
        elif "choices" in rule and value not in rule["choices"]:
            errors.append({"loc": [name], "msg": f"Must be one of {', '.join(map(str, rule['choices']))}."})
        elif number and "minimum" in rule and value < rule["minimum"]:
            errors.append({"loc": [name], "msg": f"Must be at least {rule['minimum']}."})
        elif number and "maximum" in rule and value > rule["maximum"]:
            errors.append({"loc": [name], "msg": f"Must be at most {rule['maximum']}."})
    return errors
