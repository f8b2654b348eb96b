"""Figures as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine

FILE = Path(__file__).with_name("report.md")


@dataclass(frozen=True)
class Row:
    """Medians over the rounds of one case; NaN where a figure does not apply."""

    workload: str
    server: str
    connections: int
    requests_per_second: float
    chunks_per_second: float
    ratio: float
    """To the bare app: requests, or chunks where there are any."""
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    load_busy: float
    note: str = ""


def _number(value: float, digits: int = 0) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def markdown(rows: list[Row], extras: list[tuple[str, str]], memory: dict[str, tuple[float, float]], how: str) -> str:
    """Returns the whole report."""
    main = table(
        [
            "workload",
            "server",
            "connections",
            "requests/s",
            "chunks/s",
            "of the bare app",
            "CPU ms/request",
            "p50 ms",
            "p99 ms",
        ],
        [
            [
                row.workload + (f" ({row.note})" if row.note else ""),
                row.server,
                str(row.connections),
                _number(row.requests_per_second),
                _number(row.chunks_per_second),
                _number(row.ratio, 2),
                _number(row.cpu_ms, 3),
                _number(row.p50_ms, 2),
                _number(row.p99_ms, 2),
            ]
            for row in rows
        ],
    )
    parts = ["# Benchmarks", "\n".join(f"* {fact}" for fact in [*machine.facts(), how]), main]
    if extras:
        parts.append(table(["edits and lists", "value"], extras))
    if memory:
        parts.append(
            table(
                ["memory (PSS), MB", "idle", "after the load"],
                [[name, _number(idle), _number(after)] for name, (idle, after) in memory.items()],
            )
        )
    busiest = max((row.load_busy for row in rows), default=0.0)
    parts.append(f"The load generator used at most {busiest:.0%} of its core.")
    return "\n\n".join(parts) + "\n"


def as_data(rows: list[Row], extras: list[tuple[str, str]], memory: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Returns the report as JSON data; null where a figure does not apply."""
    clean = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(row).items()}
        for row in rows
    ]
    return {"machine": machine.facts(), "rows": clean, "extras": dict(extras), "memory_mb": memory}
