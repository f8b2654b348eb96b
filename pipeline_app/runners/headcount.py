"""Counts the threads of workers so often that none takes all the numbers that the machine has for processes.

A loop around ``clone`` starts a hundred thousand threads a second, 32,768 is a usual number of ids on a machine, and
for root there is no limit in the kernel. So a thread of its own looks, one cheap system call a worker, and ends what it
finds itself: it waits for nothing, neither for the loop nor for the measuring of folders (``watch.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pipeline_app.runners.scratch import started

if TYPE_CHECKING:
    from pipeline_app.runners.workers import RunningWorker

INTERVAL = 0.025
"""Seconds in which two processors start some 3,000 threads."""


def cpu_seconds(pid: int) -> float | None:
    """Returns the CPU time of a process and all its threads, at the price of one system call; None when it has gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # its CPU clock, as clock_getcpuclockid() makes it
    except OSError:
        return None


def thread_count(pid: int) -> int:
    """Returns how many threads a process has; 0 when it has gone, and where there is no ``/proc``."""
    try:
        return os.stat(f"/proc/{pid}/task").st_nlink - 2  # a folder for each
    except OSError:
        return 0


class Headcount:
    """Looks at ``workers`` forty times a second while there are any, at those only that have used CPU time since.

    ``found(worker)`` is called on the loop for one that has more threads than its policy allows: it has been killed.
    """

    def __init__(self, workers: Callable[[], Iterable[RunningWorker]], found: Callable[[RunningWorker], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._workers = workers
        self._found = found
        self._known: dict[RunningWorker, int] = {}
        """Their processes, as descriptors: numbers are given again."""
        self._cpu: dict[RunningWorker, float | None] = {}
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Begins to look, because there is a worker."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="thread count", daemon=True)
            self._thread.start()
        self._some.set()

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._closing.wait(INTERVAL):
            self._some.wait()
            self._some.clear()
            workers = list(self._workers())
            if workers:
                self._some.set()
            self._know(workers)
            for worker in self._known:
                self._look(worker)
        self._know([])

    def _know(self, workers: list[RunningWorker]) -> None:
        for worker in self._known.keys() - set(workers):
            os.close(self._known.pop(worker))
            self._cpu.pop(worker, None)
        for worker in workers:
            if worker not in self._known and (pidfd := _opened(worker.pid, worker.began)) is not None:
                self._known[worker] = pidfd

    def _look(self, worker: RunningWorker) -> None:
        used = cpu_seconds(worker.pid)
        if used == self._cpu.get(worker):
            return
        self._cpu[worker] = used
        count = thread_count(worker.pid)
        if count > worker.code.policy.threads:
            worker.threads = count  # says why, however soon the end is noticed
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._known[worker], signal.SIGKILL)
            with contextlib.suppress(RuntimeError):  # the loop has closed
                self._loop.call_soon_threadsafe(self._found, worker)


def _opened(pid: int, began: str) -> int | None:
    """Returns a descriptor of the process that began then under that number; None when it has gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):  # AttributeError: not Linux
        return None
    if started(pid) == began:
        return pidfd
    os.close(pidfd)
    return None
