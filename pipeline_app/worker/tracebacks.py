"""Exceptions of author code as data: his frames and the last one of a library, never ours."""

from __future__ import annotations

import os
import traceback
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LONGEST = 32 * 1024
_LONGEST_NAME = 200


def text_of(exc: BaseException) -> str:
    """Returns what the exception says; its type where it says nothing, also when its own ``__str__`` fails."""
    detail = getattr(exc, "detail", None)
    if isinstance(detail, str) and isinstance(getattr(exc, "status_code", None), int):
        return detail or type(exc).__name__
    if isinstance(exc, SyntaxError) and isinstance(exc.msg, str):
        return exc.msg  # file and line, which its text repeats, are told beside it
    try:
        said = str(exc)
    except Exception:
        return f"{type(exc).__name__}, which cannot be printed"
    return said.encode("utf-8", "replace").decode() or type(exc).__name__


def line_of(exc: BaseException, filename: str) -> int | None:
    """Returns the last line of the author's file that the exception passed through, None when there is none."""
    if isinstance(exc, SyntaxError) and exc.filename == filename:
        return exc.lineno
    line = None
    step = exc.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == filename:
            line = step.tb_lineno
        step = step.tb_next
    return line


def describe(exc: BaseException, filename: str) -> dict[str, Any]:
    """Returns ``{"type", "message", "line", "traceback"}``; the traceback has the author's frames and the last line."""
    return {
        "type": type(exc).__name__[:_LONGEST_NAME],
        "message": _shortened(text_of(exc)),
        "line": line_of(exc, filename),
        "traceback": _printed(exc, filename),
    }


def _printed(exc: BaseException, filename: str) -> str:
    try:
        report = traceback.TracebackException.from_exception(exc)
        _keep_theirs(report, filename, set())
        printed = "".join(report.format())
    except Exception as trouble:  # an author's exception may break any step of printing it
        return f"{type(exc).__name__}: {text_of(exc)} (its traceback cannot be printed: {type(trouble).__name__})\n"
    return _shortened(printed.encode("utf-8", "replace").decode())


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
    frames = list(report.stack)
    theirs = [index for index, frame in enumerate(frames) if frame.filename == filename]
    kept = [frames[index] for index in theirs]
    if theirs and theirs[-1] != len(frames) - 1 and not frames[-1].filename.startswith(_HERE):
        kept.append(frames[-1])
    report.stack = traceback.StackSummary.from_list(kept)
    related = [report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())]
    for other in related:
        if other is not None:
            _keep_theirs(other, filename, seen)
