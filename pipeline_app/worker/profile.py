"""Where a call spends its time: the author's functions, and what they call, by the line they call it from.

``sys.setprofile`` tells of every call on the threads it is set on: that of a sync hook, the loop's for an async one,
and those that start meanwhile. What a coroutine awaits is no time of its own: it has left its thread until it goes on.
"""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator
from types import FrameType
from typing import Any

ROWS = 100
"""How many rows are told, those with most time first."""

INLINE = frozenset(("<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>"))
"""Code that counts as part of the function it stands in."""

Key = tuple[str, int]
Watch = Callable[[FrameType, str, Any], None]


class Profile:
    """The profile of one call of a function whose source is named ``filename``."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._rows: dict[Key, Row] = {}

    def around(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Returns work for a thread, watched."""

        def watched() -> Any:
            threading.setprofile(self._on_new_thread)
            sys.setprofile(self._watch())
            try:
                return work()
            finally:
                sys.setprofile(None)
                threading.setprofile(None)

        return watched

    def around_async(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Returns work for the loop, watched while it runs: step by step, for others run between two of its steps."""

        async def watched() -> Any:
            threading.setprofile(self._on_new_thread)
            try:
                return await _steps(work(), self._watch())
            finally:
                threading.setprofile(None)

        return watched

    def told(self) -> list[dict[str, Any]]:
        """Returns ``[{"name", "line", "is_own", "times", "own_ms", "total_ms"}]``, most time in all first.

        ``is_own`` rows are functions of the author, with the line they begin at; the others are what these call, with
        the line of the call. ``times`` is how often it was entered: a coroutine or generator once for every step.
        """
        rows = sorted(self._rows.items(), key=lambda item: -item[1].total)[:ROWS]
        return [
            {
                "name": name[:200],
                "line": line or 1,
                "is_own": row.is_own,
                "times": row.times,
                "own_ms": round(row.own * 1000, 3),
                "total_ms": round(row.total * 1000, 3),
            }
            for (name, line), row in rows
        ]

    def _on_new_thread(self, frame: FrameType, event: str, arg: Any) -> None:
        sys.setprofile(self._watch())

    def _watch(self) -> Watch:
        """Returns what Python calls at each call and return of one thread: short, since each of them pays for it."""
        filename, rows, clock = self._filename, self._rows, time.perf_counter
        stack: list[tuple[FrameType, bool, Row, float]] = []

        def enter(frame: FrameType, is_c: bool, key: Key, is_own: bool) -> None:
            row = rows.get(key)
            if row is None:
                row = rows[key] = Row(is_own)
            row.times += 1
            row.open += 1
            stack.append((frame, is_c, row, clock()))

        def on_event(frame: FrameType, event: str, arg: Any) -> None:
            code = frame.f_code
            is_own = code.co_filename == filename
            if event == "call":
                if is_own:
                    if code.co_name not in INLINE:
                        enter(frame, False, (code.co_qualname, code.co_firstlineno), True)
                else:
                    caller = frame.f_back
                    if caller is not None and caller.f_code.co_filename == filename and (name := _name(frame)):
                        enter(frame, False, (name, caller.f_lineno), False)
            elif event == "c_call":
                if is_own:
                    name = f"{getattr(arg, '__module__', None) or ''}.{getattr(arg, '__qualname__', '?')}".lstrip(".")
                    enter(frame, True, (name, frame.f_lineno), False)
            elif stack:
                began_frame, is_c, row, began = stack[-1]
                if began_frame is frame and is_c == (event != "return"):
                    stack.pop()
                    took = clock() - began
                    row.own += took
                    row.open -= 1
                    if not row.open:  # within itself it is counted once
                        row.total += took
                    if stack:
                        stack[-1][2].own -= took

        return on_event


@types.coroutine
def _steps(work: Coroutine[Any, Any, Any], watch: Watch) -> Generator[Any, Any, Any]:
    """Runs a coroutine with a profile set during each of its steps and none between them."""
    step: Callable[[Any], Any] = work.send
    given: Any = None
    while True:
        sys.setprofile(watch)
        try:
            awaited = step(given)
        except StopIteration as end:
            return end.value
        finally:
            sys.setprofile(None)
        try:
            given = yield awaited
            step = work.send
        except BaseException as thrown:  # a cancellation goes to where the coroutine waits
            step, given = work.throw, thrown


class Row:
    """What is counted of one function or call, in seconds."""

    __slots__ = ("is_own", "open", "own", "times", "total")

    def __init__(self, is_own: bool) -> None:
        self.is_own = is_own
        self.times = 0
        self.own = 0.0
        self.total = 0.0
        self.open = 0


def _name(frame: FrameType) -> str:
    """Returns what a function is called that the author calls; empty for what is part of the worker itself."""
    code, module = frame.f_code, str(frame.f_globals.get("__name__", "?"))
    if module.startswith(f"{__package__}.") and ".compat." not in module:
        return code.co_name if code.co_name.startswith("__event_") else ""
    return f"{module}.{code.co_qualname}"
