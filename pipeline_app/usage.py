"""What calls cost, added up: calls, errors, wall and CPU time, memory, and how wall times are spread.

Totals live in a table of their own (``models.Usage``), not in the runs they come from: they stay right
when runs are pruned, and reading a day of them takes a few hundred small rows, not every run's steps.
A process keeps only the five minutes that pass and writes them with the runs.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from pipeline_app.models import Usage

Json = dict[str, Any]

SPAN = 300
"""Seconds of one row."""
KEPT_MOST = 5_000
"""How many sums wait for a database that is gone, before the oldest are dropped."""
PER_OCTAVE = 8
"""Buckets of durations between one time and its double: a percentile is off by at most 4.4 percent."""


def bucket(wall_ms: float) -> int:
    """Returns the bucket that a wall time falls into."""
    return math.floor(math.log2(max(wall_ms, 0.001)) * PER_OCTAVE)


def percentile(durations: dict[int, int], share: float) -> float | None:
    """Returns the wall time in ms below which a share of calls stayed; None without calls."""
    rank = math.ceil(sum(durations.values()) * share)
    for number in sorted(durations):
        rank -= durations[number]
        if rank <= 0:
            return float(round(2.0 ** ((number + 0.5) / PER_OCTAVE), 3))
    return None


class Sum:
    """The calls of one hook of one function within one span, or of anything else that is added up."""

    __slots__ = ("calls", "cpu_calls", "cpu_ms", "durations", "errors", "memory_mb", "wall_ms")

    def __init__(self) -> None:
        self.calls = self.errors = self.cpu_calls = 0
        self.wall_ms = self.cpu_ms = 0.0
        self.memory_mb: float | None = None
        self.durations: dict[int, int] = {}

    def add_step(self, step: Json) -> None:
        """Adds a step of a run."""
        self.calls += 1
        self.errors += "error" in step
        self.wall_ms += step["wall_ms"]
        number = bucket(step["wall_ms"])
        self.durations[number] = self.durations.get(number, 0) + 1
        if step["cpu_ms"] is not None:
            self.cpu_calls += 1
            self.cpu_ms += step["cpu_ms"]
        self._add_memory(step.get("memory_mb"))

    def add_row(self, row: Usage) -> None:
        self.calls += row.calls
        self.errors += row.errors
        self.wall_ms += row.wall_ms
        self.cpu_calls += row.cpu_calls
        self.cpu_ms += row.cpu_ms
        for number, count in row.durations.items():
            self.durations[int(number)] = self.durations.get(int(number), 0) + count
        self._add_memory(row.memory_mb)

    def _add_memory(self, memory_mb: float | None) -> None:
        if memory_mb is not None and memory_mb > (self.memory_mb or 0):
            self.memory_mb = memory_mb

    def to_wire(self) -> Json:
        """Returns the figures as clients and admins see them; None where nothing is known."""
        return {
            "calls": self.calls,
            "errors": self.errors,
            "p50_ms": percentile(self.durations, 0.5),
            "p95_ms": percentile(self.durations, 0.95),
            "wall_ms": round(self.wall_ms, 3),
            "cpu_ms": round(self.cpu_ms, 3) if self.cpu_calls else None,
            "memory_mb": self.memory_mb,
        }


class Tally:
    """The sums that this process has not finished. Not thread-safe: ``runs.RunLog`` holds its lock."""

    def __init__(self) -> None:
        self.process = secrets.token_hex(8)
        self._sums: dict[tuple[int, str, str], Sum] = {}
        self._changed: set[tuple[int, str, str]] = set()

    def add(self, steps: Iterable[Json]) -> None:
        """Adds the steps of a run that ended now."""
        start = int(time.time()) // SPAN * SPAN
        for step in steps:
            key = (start, step["function"], step["hook"])
            found = self._sums.get(key)
            if found is None:
                if len(self._sums) >= KEPT_MOST:
                    self._forget(min(self._sums))
                found = self._sums[key] = Sum()
            found.add_step(step)
            self._changed.add(key)

    def _forget(self, key: tuple[int, str, str]) -> None:
        self._sums.pop(key, None)
        self._changed.discard(key)

    def rows(self) -> list[Usage]:
        """Returns what has changed since ``written`` was told, as rows."""
        return [self._row(key, self._sums[key]) for key in sorted(self._changed)]

    def _row(self, key: tuple[int, str, str], found: Sum) -> Usage:
        start, function, hook = key
        return Usage(
            function=function,
            hook=hook,
            start=datetime.fromtimestamp(start, tz=UTC),
            process=self.process,
            calls=found.calls,
            errors=found.errors,
            wall_ms=found.wall_ms,
            cpu_ms=found.cpu_ms,
            cpu_calls=found.cpu_calls,
            memory_mb=found.memory_mb,
            durations={str(number): count for number, count in found.durations.items()},
        )

    def written(self, rows: Iterable[Usage]) -> None:
        """Says that rows are stored: what has not grown since is done, and forgotten once its time is over."""
        now = int(time.time()) // SPAN * SPAN
        for row in rows:
            key = (int(row.start.timestamp()), row.function, row.hook)
            if key in self._sums and self._sums[key].calls == row.calls:
                self._changed.discard(key)
        for key in [key for key in self._sums if key[0] < now and key not in self._changed]:
            self._forget(key)


def stats(function: str, seconds: float) -> Json:
    """Returns the totals of a function over the last so many seconds, all together and by hook.

    Rows hold five minutes each, so the time begins up to five minutes earlier; ``since`` says when.
    """
    now = timezone.now()
    since = datetime.fromtimestamp((now - timedelta(seconds=seconds)).timestamp() // SPAN * SPAN, tz=UTC)
    total, hooks = Sum(), dict[str, Sum]()
    for row in Usage.objects.of(function, since).iterator():
        total.add_row(row)
        hooks.setdefault(row.hook, Sum()).add_row(row)
    return {
        "function": function,
        "since": int(since.timestamp()),
        "until": int(now.timestamp()),
        **total.to_wire(),
        "hooks": {hook: found.to_wire() for hook, found in sorted(hooks.items())},
    }
