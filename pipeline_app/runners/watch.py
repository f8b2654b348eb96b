"""What workers use of memory, threads and disk, measured in a thread and never on the loop."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from pipeline_app.runners.disk import taken
from pipeline_app.runners.headcount import Headcount, cpu_seconds

if TYPE_CHECKING:
    from pipeline_app.runners.workers import RunningWorker

INTERVAL = 0.25
MEGABYTE = 1024 * 1024
REST = 10
"""A look at a folder that took long is repeated only after so many times as long."""


class Used(NamedTuple):
    """What one process uses: private memory and temporary files in MB, and its threads.

    ``headless`` is a process whose main thread has ended while others go on.
    """

    memory_mb: float
    threads: int
    disk_mb: float
    headless: bool = False


def measure(pid: int, scratch: str | None) -> Used | None:
    """Returns what a process uses; None when it has gone."""
    found = at_a_glance(pid)
    if found is None:
        return None
    memory_mb, threads, ended = found
    return Used(memory_mb, threads, taken(pid, scratch) / MEGABYTE, ended and threads > 1)


def at_a_glance(pid: int) -> tuple[float, int, bool] | None:
    """Returns private memory in MB, threads, and whether the main thread has ended; None when the process has gone.

    Costs some 30 us, so that it may be asked for on the loop once in a worker's life.
    """
    figures = {"RssAnon": 0, "RssShmem": 0, "Threads": 0}
    ended = False
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                name, _, rest = line.partition(":")
                if name in figures:
                    figures[name] = int(rest.split()[0])
                elif name == "State":
                    ended = rest.split()[0] in ("Z", "X")
    except OSError:
        return None
    return (figures["RssAnon"] + figures["RssShmem"]) / 1024, figures["Threads"], ended


class Watch:
    """Looks at workers four times a second while there are any; at those only that have used CPU time since."""

    def __init__(self, workers: Callable[[], Iterable[RunningWorker]], tick: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._workers = workers
        self._tick = tick
        self._todo: queue.SimpleQueue[list[tuple[RunningWorker, int, str | None]] | None] = queue.SimpleQueue()
        self._measuring = False
        self._rest_until = 0.0
        self._cpu: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._headcount = Headcount(workers, lambda worker: worker.look())

    def wake(self) -> None:
        """Begins to look, because there is a worker."""
        self._headcount.wake()
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def close(self) -> None:
        """Ends the threads."""
        self._headcount.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()
            self._thread = None

    def _look(self) -> None:
        self._timer = None
        workers = list(self._workers())
        changed: list[tuple[RunningWorker, int, str | None]] = []
        cpu: dict[int, float] = {}
        for worker in workers:
            used = cpu_seconds(worker.pid)
            if used is not None:
                cpu[worker.pid] = used
                if self._cpu.get(worker.pid) != used:  # who did not run cannot have taken anything
                    changed.append((worker, worker.pid, worker.scratch))
        if changed and not self._measuring:
            self._cpu = cpu
            self._measuring = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="worker watch", daemon=True)
                self._thread.start()
            self._todo.put(changed)
        for worker in workers:
            worker.look()
        self._tick()
        if workers:
            self.wake()

    def _work(self) -> None:
        while (todo := self._todo.get()) is not None:
            began = time.monotonic()
            found = [(worker, measure(pid, scratch)) for worker, pid, scratch in todo]
            took = time.monotonic() - began
            try:
                self._loop.call_soon_threadsafe(self._measured, found, took)
            except RuntimeError:  # the loop has closed
                return

    def _measured(self, found: list[tuple[RunningWorker, Used | None]], took: float) -> None:
        for worker, used in found:
            if used is not None:
                worker.memory_mb, worker.threads, worker.disk_mb, headless = used
                worker.headless = worker.headless + 1 if headless else 0
                worker.look()
        if took * REST > INTERVAL:
            self._loop.call_later(took * REST, self._rested)
        else:
            self._rested()

    def _rested(self) -> None:
        self._measuring = False
