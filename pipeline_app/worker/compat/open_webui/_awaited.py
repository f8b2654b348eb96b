"""Whether a caller awaits what it is about to get.

Methods that ask the server were plain functions for years and are coroutines today, and functions of both kinds
are about. The place of the call tells which kind this one is: what follows it in the byte code, else what the source
does with it (``_places``), else what the caller's caller does, when the call is all that a plain function returns.
"""

from __future__ import annotations

import dis
import inspect
import linecache
import weakref
from types import CodeType, FrameType

from ._places import Place, handed_on

FILES_KEPT = 64

AWAITED, RETURNED, PLAIN = "awaited", "returned", "plain"

_SKIPPED = frozenset(dis.opmap[name] for name in ("CACHE", "NOP", "EXTENDED_ARG") if name in dis.opmap)
_CACHE = dis.opmap["CACHE"]
_AWAIT = dis.opmap["GET_AWAITABLE"]
_RETURN = dis.opmap["RETURN_VALUE"]
_SUSPENDED = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

_known: weakref.WeakKeyDictionary[CodeType, dict[tuple[str, int], str]] = weakref.WeakKeyDictionary()
"""By file too: equal code of two versions is one key, and the rest of their sources may differ."""
_files: dict[str, tuple[list[str], frozenset[Place]]] = {}


def is_awaited(caller: FrameType) -> bool:
    """Returns whether the call that a frame is making right now is awaited, there or a little later."""
    frame: FrameType | None = caller
    while frame is not None:
        code, at = frame.f_code, frame.f_lasti
        places = _known.setdefault(code, {})
        use = places.get((code.co_filename, at))
        if use is None:
            use = places[code.co_filename, at] = _use(code, at)
        if use is not RETURNED:
            return use is AWAITED
        frame = frame.f_back
    return False


def _use(code: CodeType, at: int) -> str:
    if at < 0:
        return PLAIN
    steps = code.co_code
    begin = at  # CPython 3.11 says where the caches of the instruction end, later ones where it begins
    while begin > 0 and steps[begin] == _CACHE:
        begin -= 2
    step = dis.opname[steps[begin]]
    following = at + 2
    while following < len(steps) and steps[following] in _SKIPPED:
        following += 2
    next_step = steps[following] if following < len(steps) else None
    if step.startswith("CALL"):
        if next_step == _AWAIT or _is_handed_on(code, at):
            return AWAITED
    elif step.startswith("LOAD_ATTR"):  # a property
        if next_step == _AWAIT:
            return AWAITED
    else:  # a function that something else calls, such as ``map`` while a list is made
        return PLAIN
    return RETURNED if next_step == _RETURN and not code.co_flags & _SUSPENDED else PLAIN


def _is_handed_on(code: CodeType, at: int) -> bool:
    if not code.co_filename.startswith("/functions/"):
        return False
    places = look_at(code.co_filename)
    if not places:
        return False
    _, end_line, _, end_column = list(code.co_positions())[at // 2]
    return (end_line, end_column) in places


def look_at(filename: str) -> frozenset[Place]:
    """Returns where a function's source has calls that are awaited elsewhere; keeps it for the next time."""
    lines = linecache.getlines(filename)
    kept, places = _files.get(filename, ([], frozenset()))
    if kept is not lines:
        places = handed_on(lines)
        if len(_files) >= FILES_KEPT:
            _files.clear()
        _files[filename] = lines, places
    return places
