"""What workers say, looked at before anybody believes it: every shape is checked, nothing is taken on trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_app.worker.answers import Event
from pipeline_app.worker.checking.findings import CODES, SEVERITIES
from pipeline_app.worker.checking.findings import LONGEST as FINDING_LONGEST
from pipeline_app.worker.checking.findings import MOST as FINDINGS_MOST
from pipeline_app.worker.checking.imports import MOST as IMPORTS_MOST
from pipeline_app.worker.hooks import BODY_HOOKS
from pipeline_app.worker.loader import CLASSES
from pipeline_app.worker.output import LIMIT as OUTPUT_LIMIT
from pipeline_app.worker.profile import ROWS as PROFILE_ROWS
from pipeline_app.worker.protocol import ProtocolError

Json = dict[str, Any]
Fits = Callable[[Any], bool]

TEXT_MOST = 64 * 1024
"""Characters kept of an error's message and of its traceback."""
KINDS = frozenset(kind for _, kind in CLASSES)
ERROR_KINDS = frozenset(("hook", "load", "valves"))
STREAMED = frozenset((dict, str, type(None)))
"""What a stream hook answers to an event: a chunk, the text of one, or nothing where it is dropped."""


@dataclass(slots=True)
class Done:
    """The end of a call as its worker tells it. ``error`` is None or ``(kind, data)``, see ``worker.errors``."""

    value: Any = None
    metadata: Json | None = None
    cpu: float | None = None
    output: list[Json] | None = None
    error: tuple[str, Any] | None = None
    profile: list[Json] | None = None


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
        _profile(told["profile"]) if "profile" in told else None,
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
    elif hook == "stream":
        if type(value) is not list or len(value) != len(payload):
            raise ProtocolError("stream answered no list as long as its batch")
        if not STREAMED.issuperset(map(type, value)):
            raise ProtocolError("stream answered what is neither chunk nor text nor nothing")


def event(told: Any) -> Event:
    """Returns an event. Raises ``ProtocolError``."""
    if type(told) is not dict:
        raise ProtocolError("an event is no object")
    return Event(told)


def answer(question: str, told: Any) -> Any:
    """Returns the checked answer to a question about a version. Raises ``ProtocolError``."""
    if question == "manifest":
        return manifest(told)
    if question == "read":
        return reading(told)
    if question == "check":
        return look(told)
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


def reading(told: Any) -> Json:
    """Returns what a worker says of a source that it read (``worker.checking.read``). Raises ``ProtocolError``."""
    if type(told) is not dict or type(told.get("parsed")) is not bool or not _or_none(_is_kind)(told.get("kind")):
        raise ProtocolError("a reading that is none")
    imports = told.get("imports")
    if type(imports) is not list or len(imports) > IMPORTS_MOST or not all(map(_is_import, imports)):
        raise ProtocolError("a reading whose imports are none")
    return {
        "kind": told["kind"],
        "parsed": told["parsed"],
        "findings": findings(told.get("findings")),
        "imports": [{name: entry[name] for name in (*IMPORT, *PLACE)} for entry in imports],
    }


def look(told: Any) -> Json:
    """Returns what a worker says of a loaded function (``worker.checking.look_at``). Raises ``ProtocolError``."""
    if type(told) is not dict:
        raise ProtocolError("a look at a function that is none")
    return {"manifest": manifest(told.get("manifest")), "findings": findings(told.get("findings"))}


def findings(told: Any) -> list[Json]:
    """Returns checked findings, each with the fields of ``worker.checking.findings.Finding`` and no others."""
    if type(told) is not list or len(told) > FINDINGS_MOST or not all(map(_is_finding, told)):
        raise ProtocolError("findings that are none")
    names = ("severity", "code", "message", *PLACE)
    return [{**{name: entry[name] for name in names}, "message": entry["message"][:FINDING_LONGEST]} for entry in told]


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


_is_kind: Fits = MANIFEST["kind"]


def _is_place(value: Any) -> bool:
    return value is None or (type(value) is int and 0 < value < 2**31)


PLACE = ("line", "column", "end_line", "end_column")
_places = dict.fromkeys(PLACE, _is_place)
IMPORT: Mapping[str, Fits] = {
    "module": lambda value: type(value) is str and len(value) <= 200,
    "when": lambda value: type(value) is str and value in ("load", "call", "maybe"),
    "there": _is_truth,
}
"""What a reading tells of an import beside its place."""
_is_import = _object_with(**IMPORT, **_places)
_is_finding = _object_with(
    severity=lambda value: type(value) is str and value in SEVERITIES,
    code=lambda value: type(value) is str and value in CODES,
    message=_is_text,
    **_places,
)


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


_is_row = _object_with(
    name=lambda value: type(value) is str and len(value) <= 200,
    line=_is_place,
    is_own=_is_truth,
    times=lambda value: type(value) is int,
    own_ms=lambda value: type(value) in (int, float),
    total_ms=lambda value: type(value) in (int, float),
)


def _profile(told: Any) -> list[Json]:
    if type(told) is not list or len(told) > PROFILE_ROWS or not all(map(_is_row, told)):
        raise ProtocolError("a profile that is none")
    names = ("name", "line", "is_own", "times", "own_ms", "total_ms")
    return [{name: row[name] for name in names} for row in told]


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
