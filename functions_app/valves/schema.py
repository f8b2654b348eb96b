"""What a schema says of its fields. Schemas come from authors' code, so nothing here trusts their shape."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]

_DEPTH = 20
_MOST_ALTERNATIVES = 200


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


def has_dynamic_options(schema: Schema | None) -> bool:
    """Whether the code computes the choices of a field, and names the method that does."""
    hints = (prop.get("input") for prop in properties(schema).values())
    return any(isinstance(hint, Mapping) and isinstance(hint.get("options"), str) for hint in hints)


class Place:
    """A place in valves: every schema that may speak of the value there, whichever form the value takes."""

    def __init__(self, root: Schema, parts: Iterable[Any] = ()) -> None:
        self._root = root
        self.parts: list[Schema] = []
        """The alternatives of unions and what references and ``allOf`` add, side by side, each without these keys."""
        for part in parts:
            self._add(part, 0)

    @classmethod
    def of(cls, schema: Schema | None) -> Place:
        """Returns the place of all valves."""
        return cls(schema or {}, [schema or {}])

    def _add(self, part: Any, depth: int) -> None:
        if not isinstance(part, Mapping) or depth > _DEPTH or len(self.parts) >= _MOST_ALTERNATIVES:
            return
        self.parts.append(part)
        if isinstance(reference := part.get("$ref"), str):
            self._add(_target(reference, self._root), depth + 1)
        for key in ("allOf", "anyOf", "oneOf"):
            if isinstance(several := part.get(key), list):
                for one in several:
                    self._add(one, depth + 1)

    def field(self, name: str) -> Place:
        """Returns the place of an object's field, or of an entry under a free key."""
        found: list[Any] = []
        for part in self.parts:
            named = part.get("properties")
            if isinstance(named, Mapping) and name in named:
                found.append(named[name])
                continue
            if isinstance(patterns := part.get("patternProperties"), Mapping):
                found += patterns.values()
            found.append(part.get("additionalProperties"))
        return Place(self._root, found)

    def item(self, index: int) -> Place:
        """Returns the place of a list's item."""
        found: list[Any] = []
        for part in self.parts:
            first = part.get("prefixItems")
            if isinstance(first, list) and index < len(first):
                found.append(first[index])
            else:
                found.append(part.get("items"))
        return Place(self._root, found)

    def names(self) -> list[str]:
        """Returns the names of the fields that the schema gives to an object here."""
        named = (part.get("properties") for part in self.parts)
        return list(dict.fromkeys(name for fields in named if isinstance(fields, Mapping) for name in fields))

    def types(self) -> set[str]:
        """Returns the JSON types that are allowed here; empty where the schema names none."""
        found: set[str] = set()
        for part in self.parts:
            named = part.get("type")
            found.update(name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str))
        return found - {"null"}


def too_deep(value: Any, most: int = 40) -> bool:
    """Whether JSON data is nested deeper than anybody sets up by hand, and than may be walked through safely."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, Mapping | list | tuple)
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
        ]
        if not level:
            return False
    return True
