"""Fills the holes that preloading left in Python's memory, so that workers put what they make into pages of their own.

A page of the zygote is shared until somebody writes to it. What a worker allocates would go into the holes first, a few
bytes in a page each, and copy all of these pages: half a megabyte in every worker, against as much once in the zygote.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from typing import Any

# Of CPython's own report, a line per size class: number, size, pools, blocks in use, blocks available.
_CLASS = re.compile(r"^\s+\d+\s+(\d+)\s+\d+\s+\d+\s+(\d+)$", re.MULTILINE)
_HEAD = sys.getsizeof(b"")


def fill(folder: str) -> list[Any]:
    """Allocates every free block of Python's small-object memory; returns what is to be kept. Needs the only thread."""
    kept: list[Any] = []
    for size, free in _CLASS.findall(_report(folder)):
        kept.append([_block(int(size), number) for number in range(int(free))])
    return kept


def _report(folder: str) -> str:
    """Returns what the allocator says about itself; empty on interpreters that have no such report."""
    tell = getattr(sys, "_debugmallocstats", None)
    if tell is None:
        return ""
    with tempfile.TemporaryFile(dir=folder) as file:
        errors = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)  # C writes it, to nowhere else
            tell()
        finally:
            os.dup2(errors, 2)
            os.close(errors)
        file.seek(0)
        return file.read().decode("ascii", "replace")


def _block(size: int, number: int) -> Any:
    if size == 16:
        return object()
    return bytes(size - _HEAD) if size > _HEAD + 1 else number + 0.5  # bytes of one character or none are shared
