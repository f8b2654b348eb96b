"""What workers say, looked at before anybody believes it: every shape is checked, nothing is taken on trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_app.worker.answers import Event
from pipeline_app.worker.hooks import BODY_HOOKS
from pipeline_app.worker.loader import CLASSES
from pipeline_app.worker.output import LIMIT as OUTPUT_LIMIT
from pipeline_app.worker.protocol import ProtocolError

Json = dict[str, Any]
Fits = Callable[[Any], bool]

TEXT_MOST = 64 * 1024
"""Characters kept of an error's message and of its traceback."""
KINDS = frozenset(kind for _, kind in CLASSES)
ERROR_KINDS = frozenset(("hook", "load", "valves"))


@dataclass(slots=True)
class Done:
    """The end of a call as its worker tells it. ``error`` is None or ``(kind, data)``, see ``worker.errors``."""

    value: Any = None
    metadata: Json | None = None
    cpu: float | None = None
    output: list[Json] | None = None
    error: tuple[str, Any] | None = None


def done(told: Any) -> Done:
    """Returns a checked ``done``. Raises ``ProtocolError``."""
    if type(told) is not dict:
        raise ProtocolError("a call's end is no object")
    metadata, cpu, output, error = told.get("metadata"), told.get("cpu"), told.get("output"), told.get("error")
    if metadata is not None and type(metadata) is not dict:
        raise ProtocolError("metadata is no object")
    if cpu is not None and (type(cpu) not in (int, float) or not 0 <= cpu < 1e9):
        raise ProtocolError("CPU time is no number of seconds")
    return Done(
        told.get("value"),
        metadata,
        cpu,
        _output(output) if output else [],
        None if error is None else _error(error),
    )


def check_end(hook: str, payload: Any, told: Done) -> None:
    """Raises ``ProtocolError`` for an end that no call of this hook can have, whatever its author wrote."""
    value = told.value
    if told.error is not None:
        if told.error[0] != "hook":
            raise ProtocolError(f"a call of {hook} failed as no call can")
    elif hook in BODY_HOOKS:
        if type(value) is not dict:
            raise ProtocolError(f"{hook} answered no object")
    elif hook == "stream" and (type(value) is not list or len(value) != len(payload)):
        raise ProtocolError("stream answered no list as long as its batch")


def event(told: Any) -> Event:
    """Returns an event. Raises ``ProtocolError``."""
    if type(told) is not dict:
        raise ProtocolError("an event is no object")
    return Event(told)


def answer(question: str, told: Any) -> Any:
    """Returns the checked answer to a question about a version. Raises ``ProtocolError``."""
    if question == "manifest":
        return manifest(told)
    if type(told) is not dict and (question != "options" or told is not None):
        raise ProtocolError(f"an answer to {question} that is no object")
    return told


def manifest(told: Any) -> Json:
    """Returns a checked manifest (``worker.inspection.manifest``). Raises ``ProtocolError``."""
    if type(told) is not dict or told.keys() != MANIFEST.keys():
        raise ProtocolError("a manifest that is none")
    for name, fits in MANIFEST.items():
        if not fits(told[name]):
            raise ProtocolError(f"a manifest whose {name} is none")
    return told


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_truth(value: Any) -> bool:
    return type(value) is bool


def _or_none(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _list_of(fits: Fits) -> Fits:
    return lambda value: type(value) is list and all(map(fits, value))


def _object_with(**fields: Fits) -> Fits:
    return lambda value: (
        type(value) is dict and all(name in value and fits(value[name]) for name, fits in fields.items())
    )


_is_texts = _list_of(_is_text)
_is_object = _object_with()
_is_hook = _object_with(
    **{"async": _is_truth}, generator=_is_truth, parameters=_is_texts, required=_is_texts, kwargs=_is_truth
)
_is_parts = _list_of(_object_with(id=_is_text, name=_is_text))

MANIFEST: Mapping[str, Fits] = {
    "kind": lambda value: type(value) is str and value in KINDS,
    "imports": _is_texts,
    "hooks": lambda value: type(value) is dict and all(map(_is_hook, value.values())),
    "valves": _or_none(_is_object),
    "user_valves": _or_none(_is_object),
    "priority": lambda value: type(value) in (int, float),
    "pipes": lambda value: value is None or value == "dynamic" or _is_parts(value),
    "name": _or_none(_is_text),
    "toggle": _is_truth,
    "icon": _or_none(_is_text),
    "file_handler": _is_truth,
    "actions": _list_of(_object_with(id=_is_text)),
    "warnings": _is_texts,
}
"""What inspection tells of a function, and what each field must be."""


def _output(told: Any) -> list[Json]:
    if type(told) is not list:
        raise ProtocolError("captured output is no list")
    left = OUTPUT_LIMIT + 1024  # the sentence about what was not kept
    kept: list[Json] = []
    for line in told:
        if type(line) is not dict:
            raise ProtocolError("a line of captured output is no object")
        text, where = line.get("text"), "stream" if "stream" in line else "level"
        if type(text) is not str or type(line.get(where)) is not str:
            raise ProtocolError("a line of captured output has no text or no stream")
        left -= len(text) + 1
        if left < 0:
            break
        kept.append({where: line[where][:20], "text": text})
    return kept


def _error(told: Any) -> tuple[str, Any]:
    if type(told) is not dict or told.get("kind") not in ERROR_KINDS:
        raise ProtocolError("an error of an unknown kind")
    kind = told["kind"]
    if kind == "valves":
        return kind, _complaints(told.get("errors"))
    data = told.get("data")
    if type(data) is not dict:
        raise ProtocolError("an error without data")
    return kind, failure(data)


def failure(data: Json) -> Json:
    """Returns the data of a failed hook or load with every field of its type. Raises ``ProtocolError``."""
    name, message, line, traceback = (data.get(key) for key in ("type", "message", "line", "traceback"))
    status = data.get("status")
    if type(name) is not str or type(message) is not str:
        raise ProtocolError("an error without type or message")
    if type(line) not in (int, type(None)) or type(status) not in (int, type(None)):
        raise ProtocolError("an error whose line or status is no number")
    if traceback is not None and type(traceback) is not str:
        raise ProtocolError("an error whose traceback is no text")
    return {
        **data,
        "type": name[:200],
        "message": message[:TEXT_MOST],
        "traceback": traceback if traceback is None else traceback[-TEXT_MOST:],
    }


def _complaints(told: Any) -> list[Json]:
    if type(told) is not list or not all(
        type(entry) is dict and type(entry.get("loc")) is list and type(entry.get("msg")) is str for entry in told
    ):
        raise ProtocolError("complaints about valves are no list of {loc, msg}")
    return [{"loc": entry["loc"], "msg": entry["msg"][:TEXT_MOST]} for entry in told[:1000]]
