"""Secrets among valves: which values are some, how they are kept out of sight, and how a mask keeps what is stored.

A secret is write-only. Reads show ``MASK`` in its place, at whatever depth it stands; whoever sends the mask back,
nothing, or an empty value keeps what is stored.
"""

from __future__ import annotations

import copy
import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from functions_app.valves.schema import Place, Schema, properties

MASK = "********"
PYDANTIC_MASK = "**********"
"""What pydantic's secret types write instead of their value."""

_DEPTH = 40
"""Values nested deeper than this are out of sight as a whole."""

_MOST_SECRETS = 500
"""Where there are more, no text is looked through for them."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORD = re.compile(
    r"(^|api|access|auth|private|secret|encryption)keys?$|(token|secret|password|passphrase|credential)s?$|passwd$|^pwd$"
)
_HARMLESS = re.compile(
    r"^(max|min|total|prompt|completion|context|input|output)_(\w+_)?tokens$"
    r"|^tokens?_(limit|count|budget|size|length|window|usage|price|cost|per_\w+)$"
    r"|^(sort|order|group|primary|foreign|partition|cache|lookup|row)_keys?$"
)
"""Names that have a word of a secret in them and plainly are none: amounts of a model's tokens, keys of data."""
_SECRET_NUMBER = re.compile(r"(secret|password|passphrase|passwd|apikey|api_key)$", re.IGNORECASE)
_HINTS = ("default", "examples", "example", "const", "enum")

_ABSENT: Any = object()


# --- Which values are secrets ------------------------------------------------------------------------------------


def secret_fields(schema: Schema | None) -> frozenset[str]:
    """Returns the fields that are secrets or contain one: by type, by ``input`` hint, or by a telling name."""
    place = Place.of(schema)
    return frozenset(name for name in properties(schema) if _holds_secret(name, place.field(name)))


def is_secret(schema: Schema | None, name: str) -> bool:
    """Whether a field as a whole is a secret, not only something within it."""
    return _secret(name, Place.of(schema).field(name))


def _secret(name: str, place: Place, value: Any = _ABSENT) -> bool:
    """Whether what stands at a place is a secret as a whole; ``value`` decides where the schema names no type."""
    return any(_declared(part) for part in place.parts) or _named(name, place, value)


def _declared(part: Schema) -> bool:
    hint = part.get("input")
    return (
        part.get("writeOnly") is True
        or part.get("format") == "password"
        or (isinstance(hint, Mapping) and hint.get("type") == "password")
    )


def _named(name: str, place: Place, value: Any) -> bool:
    """Whether the name says so, and the value is none of those that the code lists for everybody to see."""
    words = _WORDS.findall(name)
    if not any(_SECRET_WORD.search(word.lower()) for word in [*words, "".join(words)]):
        return False
    if _HARMLESS.search("_".join(words).lower()) or any(_offers(part) for part in place.parts):
        return False
    types = place.types()
    if types & {"string", "array", "object"}:
        return True
    if types:
        return bool(types & {"integer", "number"}) and bool(_SECRET_NUMBER.search(name))
    return not isinstance(value, bool | int | float)


def _offers(part: Schema) -> bool:
    hint = part.get("input")
    return "enum" in part or "const" in part or (isinstance(hint, Mapping) and isinstance(hint.get("options"), list))


def _holds_secret(name: str, place: Place, seen: set[tuple[int, ...]] | None = None) -> bool:
    if _secret(name, place):
        return True
    seen = set() if seen is None else seen
    here = tuple(map(id, place.parts))
    if here in seen or not here:
        return False
    seen.add(here)  # models that contain themselves end here
    inner = [(field, place.field(field)) for field in place.names()]
    inner += [("", place.field("\0")), ("", place.item(10_000))]
    lengths = (len(part["prefixItems"]) for part in place.parts if isinstance(part.get("prefixItems"), list))
    inner += [("", place.item(index)) for index in range(min(max(lengths, default=0), 20))]
    return any(_holds_secret(field, where, seen) for field, where in inner)


# --- Out of sight ------------------------------------------------------------------------------------------------


def masked(schema: Schema | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values for eyes and logs: a secret that is set shows as asterisks, also inside of others.

    A value whose field the schema doesn't have may have been a secret once and is masked too.
    """
    place, known = Place.of(schema), properties(schema)
    return {
        name: _masked(name, place.field(name), value) if name in known else _hidden(value)
        for name, value in values.items()
    }


def _hidden(value: Any) -> Any:
    return value if value in (None, "") else MASK


def _masked(name: str, place: Place, value: Any, depth: int = 0) -> Any:
    if depth > _DEPTH or _secret(name, place, value):
        return _hidden(value)
    if isinstance(value, Mapping):
        return {key: _masked(key, place.field(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", place.item(index), inner, depth + 1) for index, inner in enumerate(value)]
    return value


def public(schema: Schema | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values for an export: without secrets, and without what the schema doesn't have."""
    place, known = Place.of(schema), properties(schema)
    shown = {name: _public(name, place.field(name), value) for name, value in values.items() if name in known}
    return {name: value for name, value in shown.items() if value is not _ABSENT}


def _public(name: str, place: Place, value: Any, depth: int = 0, *, gaps: bool = False) -> Any:
    if depth > _DEPTH or _secret(name, place, value):
        return _ABSENT
    if isinstance(value, Mapping):
        shown = {key: _public(key, place.field(key), inner, depth + 1, gaps=gaps) for key, inner in value.items()}
        lost = {key for key, inner in shown.items() if inner is _ABSENT}
        if not gaps and not lost <= set(place.names()):
            return _ABSENT  # whoever sets an object without one of its free keys takes that away
        return {key: inner for key, inner in shown.items() if key not in lost}
    if isinstance(value, list | tuple):
        items = [_public("", place.item(index), inner, depth + 1, gaps=gaps) for index, inner in enumerate(value)]
        # A list that lost some of its items would be another list.
        return _ABSENT if any(item is _ABSENT for item in items) else items
    return value


def without_secrets(schema: Schema) -> dict[str, Any]:
    """Returns a schema whose secret fields show no default or example of the code's."""
    shown: dict[str, Any] = copy.deepcopy(dict(schema))
    _cover(shown, shown, 0)
    return shown


def _cover(node: Any, root: Schema, depth: int) -> None:
    if depth > 2 * _DEPTH:
        if isinstance(node, dict):
            node.clear()
        return
    if isinstance(node, list):
        for inner in node:
            _cover(inner, root, depth + 1)
        return
    if not isinstance(node, dict):
        return
    if _declared(node):
        _cover_hints(node)
    fields = node.get("properties")
    for name, prop in fields.items() if isinstance(fields, dict) else ():
        if not isinstance(prop, dict):
            continue
        place = Place(root, [prop])
        if _secret(name, place):
            _cover_hints(prop)
        elif "default" in prop:
            prop["default"] = _masked(name, place, prop["default"])
    for key, inner in list(node.items()):
        if key not in _HINTS:
            _cover(inner, root, depth + 1)


def _cover_hints(prop: dict[str, Any]) -> None:
    for hint in _HINTS:
        if hint in prop:
            prop[hint] = _hidden(prop[hint]) if hint != "enum" else [MASK]
    if "examples" in prop:
        prop["examples"] = [MASK]


def texts_of_secrets(schema: Schema | None, values: Mapping[str, Any]) -> set[str]:
    """Returns the secrets themselves, as texts that must not be said."""
    place, known, found = Place.of(schema), properties(schema), set[str]()
    for name, value in values.items():
        _collect(name, place.field(name), value, name not in known, found)
    return found


def _collect(name: str, place: Place, value: Any, inside: bool, found: set[str], depth: int = 0) -> None:
    inside = inside or depth > _DEPTH or _secret(name, place, value)
    if isinstance(value, Mapping) and depth <= 2 * _DEPTH:
        for key, inner in value.items():
            _collect(key, place.field(key), inner, inside, found, depth + 1)
    elif isinstance(value, list | tuple) and depth <= 2 * _DEPTH:
        for index, inner in enumerate(value):
            _collect("", place.item(index), inner, inside, found, depth + 1)
    elif inside and value not in (None, "", MASK, PYDANTIC_MASK) and not isinstance(value, bool):
        text = str(value)
        found |= {text, text.strip(), repr(text)[1:-1], json.dumps(text)[1:-1]} - {""}


def redacted(text: str, secrets: Collection[str]) -> str:
    """Returns a text with a mask in place of each secret in it; short ones only where they stand alone.

    A single character is none that could be kept: it would be struck out of every sentence.
    """
    if len(secrets) > _MOST_SECRETS:
        return "This is refused; the reason might repeat a secret."
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 3:
            text = text.replace(secret, MASK)
        elif len(secret) > 1 and secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


# --- Secrets that come back --------------------------------------------------------------------------------------


def unmasked(kept: Any, given: Any) -> Any:
    """Returns ``kept`` with the secrets as they were ``given`` where a secret type wrote itself as asterisks.

    Where a model made something of another shape of what it was given, that is taken as it was given: the model makes
    the same of it again.
    """
    if kept == PYDANTIC_MASK:
        return given
    if isinstance(kept, dict) and isinstance(given, Mapping):
        found = {name: unmasked(value, given[name]) for name, value in kept.items() if name in given}
        lost = [name for name, value in kept.items() if name not in given and _has_mask(value)]
        return dict(given) if lost else {**kept, **found}
    if isinstance(kept, list) and isinstance(given, list | tuple) and len(kept) == len(given):
        return [unmasked(one, other) for one, other in zip(kept, given, strict=True)]
    return given if _has_mask(kept) else kept


def _has_mask(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_mask, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_mask, value))
    return value in (MASK, PYDANTIC_MASK)


def restored(
    schema: Schema | None, given: Mapping[str, Any], stored: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns what is to be set, and ``{"loc", "msg"}`` for each mask of which nobody can tell what it stands for.

    What is given replaces what is stored. Only secrets stay when they are absent, empty or masked; None takes any
    value back to its default. Entries of objects with free keys and items of lists go when they are left out.
    """
    place, known = Place.of(schema), properties(schema)
    result: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    for name, value in given.items():
        if value is None:
            continue
        where = place.field(name)
        if name not in known and value == MASK:
            back = stored.get(name, _ABSENT)
        else:
            back = _restored(name, where, value, stored.get(name, _ABSENT), [name], errors)
        if back is not _ABSENT and back is not None:
            result[name] = back
    for name, value in stored.items():
        if name not in given and value is not None and _masked(name, place.field(name), value) != value:
            result[name] = value
    return result, errors


def _restored(
    name: str, place: Place, given: Any, stored: Any, loc: list[Any], errors: list[dict[str, Any]], depth: int = 0
) -> Any:
    if depth > _DEPTH:
        errors.append({"loc": loc[:5], "msg": f"Values may be nested {_DEPTH} deep at most."})
        return given
    if _secret(name, place, given):
        if given in ("", MASK, PYDANTIC_MASK) or given in ([], {}):
            return stored
        if _has_mask(given):
            errors.append({"loc": loc, "msg": "This secret is hidden as a whole: send all of it, or only the mask."})
        return given
    if isinstance(given, Mapping):
        return _object_restored(place, given, stored if isinstance(stored, Mapping) else {}, loc, errors, depth)
    if isinstance(given, list | tuple):
        return _list_restored(place, list(given), stored if isinstance(stored, list) else [], loc, errors, depth)
    return given


def _object_restored(
    place: Place,
    given: Mapping[str, Any],
    stored: Mapping[str, Any],
    loc: list[Any],
    errors: list[dict[str, Any]],
    depth: int,
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    fields = place.names()
    for key, value in given.items():
        where, there = place.field(key), [*loc, key]
        if value is None and _secret(key, where):
            continue
        if key not in fields and key not in stored and _asks(key, where, value):
            errors.append({"loc": there, "msg": "Nothing is stored under this key that the mask could stand for."})
            continue
        back = _restored(key, where, value, stored.get(key, _ABSENT), there, errors, depth + 1)
        if back is not _ABSENT:
            result[key] = back
    for key in fields:
        if key not in given and key in stored and _masked(key, place.field(key), stored[key]) != stored[key]:
            result[key] = stored[key]
    return result


def _asks(name: str, place: Place, value: Any, depth: int = 0) -> bool:
    """Whether a mask stands where a secret belongs."""
    if _secret(name, place, value) or depth > _DEPTH:
        return _has_mask(value)
    if isinstance(value, Mapping):
        return any(_asks(key, place.field(key), inner, depth + 1) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return any(_asks("", place.item(index), inner, depth + 1) for index, inner in enumerate(value))
    return False


def _list_restored(
    place: Place, given: list[Any], stored: list[Any], loc: list[Any], errors: list[dict[str, Any]], depth: int
) -> list[Any]:
    result = []
    partners = _partners(place, given, stored)
    for index, item in enumerate(given):
        where, there = place.item(index), [*loc, index]
        if index not in partners and _asks("", where, item):
            message = "Which stored secret the mask stands for cannot be told after this change of the list; send it."
            errors.append({"loc": there, "msg": message})
            continue
        before = stored[partners[index]] if index in partners else _ABSENT
        back = _restored("", where, item, before, there, errors, depth + 1)
        result.append("" if back is _ABSENT else back)
    return result


def _name_of(shown: Any) -> str:
    """Returns what an item is known by; nothing for one that shows nothing."""
    return "" if shown is _ABSENT else json.dumps(shown, sort_keys=True)


def _partners(place: Place, given: list[Any], stored: list[Any]) -> dict[int, int]:
    """Returns which stored item each given item stands for, by index, as far as that is certain.

    An item is known by what of it is shown: lists are put in another order, they grow and shrink. One that was itself
    changed, or shows nothing, is known by its position, if the list is as long as before and nothing has moved.
    """
    old = [_public("", place.item(index), item, gaps=True) for index, item in enumerate(stored)]
    new = [_public("", place.item(index), item, gaps=True) for index, item in enumerate(given)]
    names, asked = [_name_of(part) for part in old], [_name_of(part) for part in new]
    partners = {index: index for index, name in enumerate(asked) if name and index < len(old) and name == names[index]}
    free: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        if index not in partners:
            free[name].append(index)
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(asked):
        if name and index not in partners:
            waiting[name].append(index)
    for name, those in waiting.items():
        if len(those) == len(free[name]):
            partners |= dict(zip(those, free[name], strict=True))
    if len(given) == len(stored) and all(index == other for index, other in partners.items()):
        return {index: index for index in range(len(given))}
    asking = [index for index, part in enumerate(new) if part is _ABSENT and _has_mask(given[index])]
    if len(asking) == len(stored) and all(part is _ABSENT for part in old):
        partners |= dict(zip(asking, range(len(stored)), strict=True))
    return partners
