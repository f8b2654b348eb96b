"""What processes there are around a server, and what they use."""

from __future__ import annotations

import os
import time
from pathlib import Path


def parents() -> dict[int, int]:
    """Returns every process with its parent."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # just gone
    return found


def descendants(pid: int) -> set[int]:
    """Returns the processes below one, at any depth."""
    known = parents()
    found, before = {pid}, 0
    while len(found) > before:
        before = len(found)
        found |= {child for child, parent in known.items() if parent in found}
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    """Returns which of some processes still run; one that has ended and waits for its parent does not."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.add(pid)
    return found


def wait_gone(pids: set[int], seconds: float = 15) -> set[int]:
    """Waits for processes to end and returns those that have not."""
    deadline = time.monotonic() + seconds
    while (left := alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def parent_of(pid: int) -> int:
    return parents()[pid]


def memory_mb(pid: int) -> float:
    """Returns the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1048576


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))
