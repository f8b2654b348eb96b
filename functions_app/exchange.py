"""Import of functions: Open WebUI's export files, and single Python files with a small TOML file beside them."""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from functions_app.models import Function, User, Valves
from functions_app.models.function import clean_id
from functions_app.runtime import InvalidValves, LoadError

SIDECAR_KEYS = frozenset({"id", "name", "is_active", "is_global", "valves", "policy", "meta", "description"})


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one function of an import.

    ``function`` is None when it was not stored; ``created`` is False also when it existed and was
    left alone. ``error`` is a sentence, None when all went well; a stored function may have one,
    for example when its source doesn't load.
    """

    id: str
    function: Function | None
    created: bool
    error: str | None


def read_export(data: bytes | str) -> Any:
    """Returns the content of an export file. Raises ``ValidationError`` when it isn't JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"This is not an export file: it is not JSON ({error}).") from None


def import_functions(data: Any, owner: User | None, *, flags: bool = False) -> list[Imported]:
    """Makes the functions of an export: an array or one object, each bare or as ``{"function": {...}}``.

    They arrive inactive unless ``flags`` says to take ``is_active`` and ``is_global`` over. Valves
    are taken over where there are any. What exists is left alone, and a bad entry stops none of the others.
    """
    entries = data if isinstance(data, list) else [data]
    return [_import_entry(entry, number, owner, flags=flags) for number, entry in enumerate(entries, 1)]


def import_file(path: Path, owner: User | None) -> Imported:
    """Makes the function in a ``.py`` file.

    A ``.toml`` file of the same name may set id, name, switches, valves and policy. Without one the
    id is the file's name and the function arrives inactive.
    """
    sidecar = path.with_suffix(".toml")
    entry: dict[str, Any] = {}
    try:
        source = path.read_text(encoding="utf-8-sig")
        if sidecar.is_file():
            entry = tomllib.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Imported(path.stem, None, False, f"{path.name} cannot be read: {error}.")
    if unknown := sorted(set(entry) - SIDECAR_KEYS):
        may = ", ".join(sorted(SIDECAR_KEYS))
        return Imported(
            path.stem, None, False, f"{sidecar.name} has unknown keys ({', '.join(unknown)}); it may have {may}."
        )
    meta = dict(entry.pop("meta", {}))
    if "description" in entry:
        meta["description"] = entry.pop("description")
    return _import_entry({"id": slug(path.stem), **entry, "content": source, "meta": meta}, 1, owner, flags=True)


def slug(text: str) -> str:
    """Returns an id made of a title as Open WebUI does it: lower case, no accents, ``_`` for what is no word."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    made = re.sub(r"\W+", "_", plain).strip("_").lower()
    return f"_{made}" if made[:1].isdigit() else made


def _import_entry(entry: Any, number: int, owner: User | None, *, flags: bool) -> Imported:
    if isinstance(entry, Mapping) and isinstance(entry.get("function"), Mapping):
        entry = entry["function"]
    if not isinstance(entry, Mapping):
        kind = type(entry).__name__
        return Imported("", None, False, f"Entry {number} is no function: an object is needed, not {kind}.")
    label = str(entry.get("id") or "")[:50] or f"entry {number}"
    try:
        id = clean_id(entry.get("id") or "")
        if (existing := Function.objects.filter(pk=id).first()) is not None:
            return Imported(id, existing, False, None)
        wrong = [key for key, kind in _KINDS.items() if entry.get(key) is not None and not isinstance(entry[key], kind)]
        if wrong:
            return Imported(id, None, False, f"{id}: {', '.join(wrong)} is of the wrong type.")
        name, meta = entry.get("name") or "", _meta(entry)
        function = Function.objects.create_function(id, name, entry.get("content") or "", owner, meta=meta)
    except ValidationError as error:
        return Imported(label, None, False, f"{label}: {' '.join(error.messages)}")
    return Imported(id, function, True, " ".join(_configure(function, entry, owner, flags=flags)) or None)


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "content": str,
    "meta": Mapping,
    "valves": (Mapping, str),
    "policy": Mapping,
    "is_active": (bool, int),
    "is_global": (bool, int),
}


def _meta(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entry's own facts; what the server computes on every save is left out."""
    computed = ("manifest", "toggle", "has_user_valves")
    return {key: value for key, value in (entry.get("meta") or {}).items() if key not in computed}


def _configure(function: Function, entry: Mapping[str, Any], owner: User | None, *, flags: bool) -> list[str]:
    """Takes switches, policy and valves over; returns a sentence for each thing that could not be."""
    problems: list[str] = []
    if function.live is None and (newest := function.newest) is not None and newest.error:
        problems.append(f"{function.id} was stored but does not load: {newest.error['message']}")
    if flags:
        function.is_active, function.is_global = bool(entry.get("is_active")), bool(entry.get("is_global"))
        function.save(update_fields=["is_active", "is_global", "updated_at"])
    try:
        if entry.get("policy"):
            function.change_policy(entry["policy"])
    except ValidationError as error:
        problems.append(f"The policy of {function.id} was not taken over: {' '.join(error.messages)}")
    valves = entry.get("valves")
    try:
        if isinstance(valves, str):
            problems.append(f"The valves of {function.id} are encrypted; export them again in clear, or set them here.")
        elif valves:
            Valves.objects.set_values(function, valves, owner)
    except (InvalidValves, LoadError) as error:
        problems.append(f"The valves of {function.id} were not taken over: {error}")
    except ValidationError as error:
        problems.append(f"The valves of {function.id} were not taken over: {' '.join(error.messages)}")
    return problems
