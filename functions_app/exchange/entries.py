"""One function as a request or a file describes it, read from every form that is accepted."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError

from functions_app import wire
from functions_app.models.base import check_text
from functions_app.models.function import clean_id, clean_name
from functions_app.models.version import clean_source
from functions_app.policy import Policy
from functions_app.runtime import Packed

Json = dict[str, Any]

DEPTH = 32
MOST = 5_000
LAST_MOMENT = 32_503_680_000  # the year 3000: every time zone can still show it
LEFT_OUT = "It brings a policy of its own, which is left out: take it only from those whom you trust."
ENCRYPTED = (
    "The valves are encrypted. Export them again in clear (in Open WebUI with "
    "GET /api/v1/functions/export?include_valves=true), or leave the valves out and set them here."
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One function, clean and in our own types. What it does not say is None.

    ``where`` tells people where it stands, such as "entry 3" or a file's name. ``resets_valves`` means that it says
    ``"valves": null``, which takes all of them back to the code's defaults. ``notes`` are for people.
    """

    where: str
    id: str
    source: str
    name: str = ""
    meta: Json | None = None
    is_active: bool | None = None
    is_global: bool | None = None
    valves: Json | None = None
    resets_valves: bool = False
    policy: Json | None = None
    created_at: datetime | None = None
    notes: tuple[str, ...] = ()
    packages: Packed | None = None
    """What its requirements were locked to, where it comes from a bundle."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is no usable entry. ``sentence`` says what is wrong, without naming where."""

    where: str
    sentence: str
    id: str = ""

    def __str__(self) -> str:
        return f"{self.id} ({self.where}): {self.sentence}" if self.id else f"{self.where}: {self.sentence}"


Read = list[Entry | Problem]


def read_export(data: bytes | str) -> Any:
    """Returns the content of an export file. Raises ``ValidationError`` when it isn't JSON."""
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"This is not an export file: it is not JSON ({error}).") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read(data: Any, where: str = "", *, valves: bool = True, flags: bool = True, policy: bool = False) -> Read:
    """Returns the entries of an export: an array or one object, each bare or as ``{"function": {...}}``.

    ``where`` goes before "entry 3" in what people are told. Without ``valves``, without ``flags`` (active, global) or
    without ``policy`` those of the entries are passed over. A policy says what a function may do to everybody, and
    exports come from strangers, so it has to be asked for.
    """
    items = data if isinstance(data, list) else [data]
    prefix = f"{where}, " if where else ""
    if len(items) > MOST:
        return [Problem(where or "The export", f"It has {len(items)} entries; at most {MOST} are taken at once.")]
    numbered = enumerate(items, 1)
    return without_twins(
        read_entry(item, f"{prefix}entry {n}", valves=valves, flags=flags, policy=policy) for n, item in numbered
    )


def without_twins(found: Iterable[Entry | Problem]) -> Read:
    """Returns what was found; of entries with one id all but the first are a problem."""
    seen: dict[str, Entry] = {}
    kept: Read = []
    for one in found:
        if isinstance(one, Entry) and (first := seen.setdefault(one.id, one)) is not one:
            one = Problem(one.where, f"This id is there twice: {first.where} and {one.where}.", one.id)
        kept.append(one)
    return kept


def read_entry(
    data: Any, where: str, *, valves: bool = True, flags: bool = True, policy: bool = True
) -> Entry | Problem:
    """Returns one entry of an export, whatever else it holds passed over; or what is wrong with it."""
    if isinstance(data, Mapping) and isinstance(data.get("function"), Mapping):
        data = data["function"]
    if not isinstance(data, Mapping):
        return Problem(where, f"This is no function: an object is needed, not {type(data).__name__}.")
    id = ""
    try:
        id = clean_id(data.get("id") if data.get("id") is not None else "")
        given = data.get("valves") if valves else None
        if isinstance(given, str):
            raise ValidationError(ENCRYPTED)
        return Entry(
            where=where,
            id=id,
            source=clean_source(data.get("content") if data.get("content") is not None else ""),
            name=clean_name(data.get("name") if data.get("name") is not None else ""),
            meta=_own_meta(_object(data, "meta")),
            is_active=_truth(data, "is_active") if flags else None,
            is_global=_truth(data, "is_global") if flags else None,
            valves=_object(data, "valves") if valves else None,
            resets_valves=valves and "valves" in data and given is None,
            policy=_policy(data) if policy else None,
            created_at=_moment(data.get("created_at")),
            notes=() if policy or not data.get("policy") else (LEFT_OUT,),
        )
    except ValidationError as error:
        return Problem(where, " ".join(error.messages), id)


def slug(text: str) -> str:
    """Returns an id made of a title as Open WebUI does it: lower case, no accents, ``_`` for what is no word."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    made = re.sub(r"\W+", "_", plain).strip("_").lower()
    return f"_{made}" if made[:1].isdigit() else made


def _own_meta(meta: Json | None) -> Json | None:
    return None if meta is None else {key: value for key, value in wire.own_meta(meta).items() if value is not None}


def _object(data: Mapping[str, Any], key: str) -> Json | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValidationError(f"{key} must be an object, not {type(value).__name__}.")
    _check_plain(value, key)
    return dict(value)


def _check_plain(value: Any, what: str, depth: int = 0) -> None:
    """Raises ``ValidationError`` for what is no JSON, nested too deeply, or text that can't be stored."""
    if depth > DEPTH:
        raise ValidationError(f"{what} is nested more than {DEPTH} levels deep.")
    if isinstance(value, str):
        check_text(value, what)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_text(key, f"A key in {what}")
            _check_plain(item, what, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, what, depth + 1)
    elif not (value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))):
        raise ValidationError(f"{what} holds {value}, a {type(value).__name__}, which JSON does not have; write text.")


def _truth(data: Mapping[str, Any], key: str) -> bool | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise ValidationError(f"{key} must be true or false, not {value!r:.50}.")
    return bool(value)


def _policy(data: Mapping[str, Any]) -> Json | None:
    given = _object(data, "policy")
    if given is None:
        return None
    try:
        return {name: value for name, value in Policy.clean(given).items() if value is not None}
    except ValidationError as error:
        wrong = " ".join(f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items())
        raise ValidationError(f"The policy is not usable. {wrong}") from None


def _moment(value: Any) -> datetime | None:
    """Returns a time given in epoch seconds or, in TOML, as a date with a time."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= LAST_MOMENT:
        raise ValidationError(f"created_at must be a time in seconds since 1970, not {value!r:.50}.")
    return datetime.fromtimestamp(value, tz=UTC)
