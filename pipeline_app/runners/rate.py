"""How often something may happen."""

from __future__ import annotations

import time


class Rate:
    """So many a second on average, and a second's worth at once."""

    __slots__ = ("_at", "_each_second", "_left")

    def __init__(self, each_second: float) -> None:
        self._each_second = each_second
        self._left = each_second
        self._at = time.monotonic()

    def take(self) -> float:
        """Takes one and returns the seconds to wait before the next; 0 while there are some left."""
        now = time.monotonic()
        self._left = min(self._each_second, self._left + (now - self._at) * self._each_second) - 1
        self._at = now
        return max(0.0, -self._left / self._each_second)
