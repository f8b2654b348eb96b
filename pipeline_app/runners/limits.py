"""What runners say about time limits, and how exactly they keep them: the same under every runner."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

LATE = 0.05
"""Seconds that the loop may be behind before its own delay is made up for."""


class Pause:
    """The time of one call that does not count: ``with pause:`` while the client is asked, even twice at a time."""

    __slots__ = ("_asking", "_since", "_total")

    def __init__(self) -> None:
        self._asking = 0
        self._since = 0.0
        self._total = 0.0

    def __enter__(self) -> None:
        if not self._asking:
            self._since = time.perf_counter()
        self._asking += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._asking -= 1
        if not self._asking:
            self._total += time.perf_counter() - self._since

    @property
    def seconds(self) -> float:
        """How long it has been so far."""
        return self._total + (time.perf_counter() - self._since if self._asking else 0.0)


def took_too_long(limit: float | None, *, first: bool = False) -> str:
    """Returns the sentence about a call's time limit; ``first`` is that for a pipe's first item."""
    what = f"nothing came within {limit:g} s" if first else f"it took longer than {limit:g} s"
    return f"{what} (the time limit of its policy)"


SHORTER = {
    "options": "Make the method that offers the choices of its valves quicker, or let it keep what it found.",
    "read": "Make the source shorter, or nest it less deep.",
    "validate": "Make the validators of its valves quicker.",
}


def loading_took_too_long(limit: float, question: str = "load") -> dict[str, Any]:
    """Returns the data of a load, or a question about a version, that was stopped at its time limit."""
    shorter = SHORTER.get(question, "Move slow work out of the module and of __init__.")
    message = f"It took longer than {limit:g} s and was stopped. {shorter}"
    return {"type": "TimeLimit", "message": message, "line": None, "traceback": None}
