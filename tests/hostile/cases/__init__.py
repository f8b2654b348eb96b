"""All cases, by category; the numbers are those of the table in ``docs/hostile-suite.md``."""

from __future__ import annotations

from itertools import chain

from tests.hostile.cases import (
    asking,
    channel,
    doors,
    egress,
    failures,
    files,
    filters,
    folder,
    forged,
    kernel,
    limits,
    loading,
    manifests,
    memory,
    network,
    output,
    processes,
    python,
    staying,
    threads,
    unseen,
    values,
)
from tests.hostile.cases.case import Case

LISTED = 230
"""Cases up to this number are those of the original list; those above it are ours."""

CASES: tuple[Case, ...] = tuple(
    sorted(
        chain(
            *(
                module.case
                for module in (
                    files, processes, kernel, memory, limits, output, channel, python, loading, network,
                    forged, values, manifests, doors, folder, staying, threads, egress, filters, asking,
                    failures, unseen,
                )
            ),
            manifests.pipes,
        ),
        key=lambda case: case.number,
    )
)  # fmt: skip
BY_NUMBER = {case.number: case for case in CASES}
assert len(BY_NUMBER) == len(CASES), "two cases have the same number"
