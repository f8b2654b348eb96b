"""Counters and timings of this process, for ``/metrics``."""

from __future__ import annotations

from prometheus_client import Counter

SKIPPED_FILTERS = Counter(
    "webui_functions_skipped_filters_total",
    "Filters that failed and were skipped because their policy says so",
    ["function", "hook"],
)


def count_skip(function_id: str, hook: str) -> None:
    """Notes that a failing filter was passed over."""
    SKIPPED_FILTERS.labels(function_id, hook).inc()
