"""Whatever author code hands over, as plain JSON types; and a fast deep copy of what is JSON already."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import marshal
import numbers
from collections.abc import Mapping
from typing import Any

DEEPEST = 100
_PLAIN = frozenset((int, bool, type(None)))
_name = type.__dict__["__name__"].__get__


def jsonable(value: Any) -> Any:
    """Returns a deep copy of ``value`` made of dict, list, str, int, float, bool and None only.

    Models and dataclasses become dicts, dates ISO text, sets and tuples lists, bytes text, enums their
    value, NaN and infinity None, lone surrogates question marks, keys text; anything else its ``str()``.
    Raises ``ValueError`` for what contains itself or is nested deeper than 100 levels.
    """
    return _walk(value, 0)


def copy(value: Any) -> Any:
    """Returns a deep copy of JSON data."""
    kind = type(value)
    if kind is str or kind in _PLAIN:
        return value
    try:
        return marshal.loads(marshal.dumps(value))
    except ValueError:  # a subclass of dict or str among it
        return _walk(value, 0)


def weight(value: Any) -> int:
    """Returns about how many characters the texts in JSON data have together, with a few for every other thing."""
    if type(value) is str:
        return len(value)
    try:
        return len(marshal.dumps(value, 0))  # version 0 writes a text each time it occurs; nothing counts as fast
    except ValueError:  # a subclass among it
        pass
    total = 0
    todo = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is str:
            total += len(item)
        elif kind is dict:
            total += 8 * len(item)
            todo.extend(item.values())
        elif kind is list:
            total += 8 * len(item)
            todo.extend(item)
    return total


def text(value: str) -> str:
    """Returns an exact ``str`` that can be encoded: lone surrogates become question marks."""
    if type(value) is not str:
        value = str.__str__(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "replace").decode()
    return value


def _walk(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else text(value)
    if kind is dict:
        if depth >= DEEPEST:
            raise _too_deep()
        depth += 1
        made: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str:
                key = _key(key)
            elif not key.isascii():
                key = text(key)
            kind = type(item)
            if kind is str:
                made[key] = item if item.isascii() else text(item)
            elif kind in _PLAIN:
                made[key] = item
            else:
                made[key] = _walk(item, depth)
        return made
    if kind is list:
        if depth >= DEEPEST:
            raise _too_deep()
        depth += 1
        return [_walk(item, depth) for item in value]
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if value - value == 0 else None
    if depth >= DEEPEST:
        raise _too_deep()
    return _walk(_simpler(value), depth + 1)


def _too_deep() -> ValueError:
    return ValueError(f"The data contains itself or is nested deeper than {DEEPEST} levels, which JSON cannot carry.")


def _key(key: Any) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return text(key)
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    return printed(key)


def _simpler(value: Any) -> Any:
    """Returns something nearer to JSON; ends with ``str()``."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, dict):
        return dict(value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if not isinstance(value, type):
        dump = getattr(value, "model_dump", None)
        if callable(dump):
            return _dumped(dump)
        if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return dict(value.items())
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
            return float(value)
    return printed(value)


def _dumped(dump: Any) -> Any:
    """Returns a pydantic model as data; in Python types where its fields have no JSON form of their own."""
    try:
        return dump(mode="json")
    except Exception:  # pydantic's serialization error, or a model_dump of the author's without a mode
        return dump()


def printed(value: Any) -> str:
    """Returns ``str(value)``; a placeholder when that fails."""
    try:
        return text(str(value))
    except Exception:
        return f"<{name_of(value)} that cannot be printed>"


def name_of(value: Any) -> str:
    """Returns the name of the class of ``value``, whatever its metaclass says."""
    return text(_name(type(value)))
