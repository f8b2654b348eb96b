"""What the kernel says about processes and the machine. Linux only."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

USABLE = sorted(os.sched_getaffinity(0))
"""The cores that were there before this process pinned itself to one of them."""
SERVER_CORE = {USABLE[0]}
LOAD_CORE = {USABLE[-1]}


def tree(pid: int) -> list[int]:
    """Returns a process and all its descendants that live."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except FileNotFoundError:  # the thread has ended since
            continue
        for child in children:
            found += tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """Returns the user and system time of a process tree, including children that have ended."""
    total = 0
    for process in tree(pid):
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except FileNotFoundError:
            continue
        total += sum(int(value) for value in stat.rpartition(")")[2].split()[11:15])
    return total / TICKS


def memory_mb(pid: int) -> float:
    """Returns the memory (PSS) of a process tree in MB: pages that several processes share count once in all."""
    total = 0
    for process in tree(pid):
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if found := re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE):
            total += int(found.group(1))
    return total / 1024


def facts() -> list[str]:
    """Returns sentences about the machine and the software; nothing that names the one or its folders."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    packages = ", ".join(f"{name} {version(name)}" for name in ("Django", "djangorestframework", "uvicorn"))
    optional = ", ".join(f"{name} {version(name)}" for name in ("uvloop", "httptools"))
    return [
        (
            f"{model.group(1).strip() if model else platform.machine()}, {len(USABLE)} usable cores, "
            f"{int(memory.group(1)) / 1048576 if memory else 0:.0f} GB, Linux {platform.release().split('-')[0]}"
        ),
        f"{platform.python_implementation()} {platform.python_version()}, {packages}, {optional}",
        "one core, shared by server and load generator: compare ratios only"
        if SERVER_CORE == LOAD_CORE
        else "each server process pinned to one core, the load generator to another",
    ]
