"""Exceptions of author code as data: his frames and the last one of a library, never ours."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from typing import Any

from .jsonable import name_of, text
from .places import without_folders

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LONGEST = 32 * 1024
_LONGEST_NAME = 200
_MOST_RELATED = 100
_MOST_FRAMES = 2000
_traceback_of = BaseException.__dict__["__traceback__"].__get__  # a class of the author's may answer something else


def text_of(exc: BaseException) -> str:
    """Returns what the exception says; its type where it says nothing, also when its own ``__str__`` fails."""
    try:
        return without_folders(text(_said_by(exc))) or name_of(exc)
    except BaseException:  # an exception of the author's may raise anything, also what ends a process
        return f"{name_of(exc)}, which cannot be printed"


def _said_by(exc: BaseException) -> str:
    try:
        detail = getattr(exc, "detail", None)
        if isinstance(detail, str) and isinstance(getattr(exc, "status_code", None), int):
            return detail
    except Exception:
        pass  # an attribute that fails says nothing; the exception may
    if isinstance(exc, SyntaxError) and isinstance(exc.msg, str):
        return exc.msg  # file and line, which its text repeats, are told beside it
    return str(exc)


def line_of(exc: BaseException, filename: str) -> int | None:
    """Returns the last line of the author's file that the exception passed through, None when there is none."""
    if isinstance(exc, SyntaxError) and type(exc.filename) is str and exc.filename == filename:
        return exc.lineno if type(exc.lineno) is int else None
    line = None
    step = _traceback_of(exc)
    while step is not None:
        if step.tb_frame.f_code.co_filename == filename:
            line = step.tb_lineno
        step = step.tb_next
    return line


def describe(exc: BaseException, filename: str) -> dict[str, Any]:
    """Returns ``{"type", "message", "line", "traceback"}``; the traceback has the author's frames and the last line."""
    return {
        "type": name_of(exc)[:_LONGEST_NAME],
        "message": _shortened(text_of(exc)),
        "line": line_of(exc, filename),
        "traceback": _printed(exc, filename),
    }


def _printed(exc: BaseException, filename: str) -> str:
    try:
        if _has_many_related(exc):
            printed = _alone(exc, filename)
        else:
            # Of a long stack the last frames: there it went wrong.
            report = traceback.TracebackException(type(exc), exc, _traceback_of(exc), limit=-_MOST_FRAMES)
            _keep_theirs(report, filename, set())
            printed = "".join(report.format())
        return _shortened(without_folders(text(printed)))
    except BaseException as trouble:  # an author's exception may break any step of printing it
        return f"{name_of(exc)}: {_shortened(text_of(exc))} (its traceback cannot be printed: {name_of(trouble)})\n"


def _has_many_related(exc: BaseException) -> bool:
    """Whether so many others are chained to an exception, or grouped in it, that printing all takes too long."""
    seen: set[int] = set()
    todo = [exc]
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            todo += _related(one)
            if len(seen) + len(todo) > _MOST_RELATED:
                return True
    return False


def _related(exc: BaseException) -> Iterator[BaseException]:
    grouped = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
    for other in (exc.__cause__, exc.__context__, *grouped[: _MOST_RELATED + 1]):
        if other is not None:
            yield other


def _alone(exc: BaseException, filename: str) -> str:
    stack = traceback.StackSummary.extract(traceback.walk_tb(_traceback_of(exc)), limit=-_MOST_FRAMES)
    lines = "".join(_theirs(stack, filename).format())
    head = f"Traceback (most recent call last):\n{lines}" if lines else ""
    return f"{head}{name_of(exc)}: {text_of(exc)}\n(More than {_MOST_RELATED} other exceptions belong to it.)\n"


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]}\n... {len(text) - _LONGEST} characters left out ...\n{text[-half:]}"


def _keep_theirs(report: traceback.TracebackException, filename: str, seen: set[int]) -> None:
    """Reduces every stack of a chain to the author's frames and the library frame in which it ended."""
    if id(report) in seen:
        return
    seen.add(id(report))
    report.stack = _theirs(report.stack, filename)
    related = [report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())]
    for other in related:
        if other is not None:
            _keep_theirs(other, filename, seen)


def _theirs(frames: traceback.StackSummary, filename: str) -> traceback.StackSummary:
    theirs = [index for index, frame in enumerate(frames) if frame.filename == filename]
    kept = [frames[index] for index in theirs]
    if theirs and theirs[-1] != len(frames) - 1 and not frames[-1].filename.startswith(_HERE):
        kept.append(frames[-1])
    return traceback.StackSummary.from_list(kept)
