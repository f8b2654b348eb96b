"""What repeated crashes of one version lead to: a pause before each restart, and a breaker that opens for a while.

It never leads to an older version: a client who can crash a filter could bring back a weaker one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

CRASHES = 3
WITHIN = 60.0
"""So many crashes within so many seconds open the breaker."""
FIRST_PERIOD = 30.0
LONGEST_PERIOD = 300.0
PAUSES = (0.0, 0.1, 0.5)
"""Seconds before a restart, by the number of crashes within the last minute; the last repeats."""
FORGOTTEN_AFTER = 2 * LONGEST_PERIOD
KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Opening:
    """A breaker that opened. Times are epoch seconds."""

    function_id: str
    number: int
    reason: str
    opened_at: float
    until: float
    log: str
    """The last lines that the worker wrote past every call: what native code says when it fails."""


class Breaker:
    """The crashes of one version in this process."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._crashes: list[float] = []
        self._period = 0.0
        self._opened = 0.0
        self._until = float("-inf")
        self.touched = now()
        self.opening: Opening | None = None
        """How it opened last; None when it never did, or a quiet time has passed since."""

    def crashed(self) -> float | None:
        """Takes note of a crash; returns for how many seconds the breaker opens, None when it stays as it is."""
        now = self.touched = self._now()
        tried_again = self._period > 0 and now < self._until + WITHIN  # it had just closed: one crash is enough
        self._crashes = [when for when in self._crashes if now - when < WITHIN]
        self._crashes.append(now)
        if now < self._until or (len(self._crashes) < CRASHES and not tried_again):
            return None
        self._period = min(LONGEST_PERIOD, 2 * self._period) if tried_again else FIRST_PERIOD
        self._opened, self._until = now, now + self._period
        self._crashes.clear()
        return self._period

    @property
    def closed_in(self) -> float:
        """Seconds until it closes by itself; 0 when it is closed."""
        return max(0.0, self._until - self._now())

    @property
    def pause(self) -> float:
        """Seconds to wait before the next start."""
        if not self._crashes:
            return 0.0
        pause = PAUSES[min(len(self._crashes), len(PAUSES) - 1)]
        return max(0.0, self._crashes[-1] + pause - self._now())


class Breakers:
    """The breakers of all versions, by ``Code.key``: another version or epoch begins with a closed one."""

    def __init__(self) -> None:
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    def find(self, key: str) -> Breaker | None:
        """Returns the breaker of a version; None when it never crashed, or long ago."""
        found = self._breakers.get(key)
        if found is not None and found.closed_in == 0.0 and time.monotonic() - found.touched > FORGOTTEN_AFTER:
            del self._breakers[key]
            return None
        return found

    def of(self, key: str) -> Breaker:
        """Returns the breaker of a version, a new one when it has none."""
        found = self.find(key)
        if found is None:
            found = self._breakers[key] = Breaker()
            if len(self._breakers) > KEPT:
                self._breakers.popitem(last=False)
        return found

    def open_of(self, function_id: str) -> Breaker | None:
        """Returns an open breaker of any version of a function."""
        own = [breaker for key, breaker in list(self._breakers.items()) if key.startswith(f"{function_id}:")]
        return next((breaker for breaker in own if breaker.closed_in > 0), None)

    def forget(self, function_id: str | None = None) -> None:
        """Closes the breakers of one function, or of all."""
        for key in list(self._breakers):
            if function_id is None or key.startswith(f"{function_id}:"):
                del self._breakers[key]
