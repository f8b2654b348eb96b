"""What workers use of memory, threads and disk, measured in threads and never on the loop.

Memory and threads have a thread of their own. How long a look at the disk takes is up to author code, which fills its
folder and its table of mappings: no look at memory may wait for one.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline_app.runners.disk import taken
from pipeline_app.runners.headcount import Headcount, cpu_seconds

if TYPE_CHECKING:
    from pipeline_app.runners.workers import RunningWorker

logger = logging.getLogger(__name__)

INTERVAL = 0.25
MEGABYTE = 1024 * 1024
REST = 10
"""A look at a worker that took long is repeated only after so many times as long; the others need not wait for it."""


class Used(NamedTuple):
    """What one process uses: private memory in MB, and its threads.

    ``headless`` is a process whose main thread has ended while others go on.
    """

    memory_mb: float
    threads: int
    headless: bool


def at_a_glance(pid: int) -> Used | None:
    """Returns memory and threads of a process; None when it has gone.

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
    threads = figures["Threads"]
    return Used((figures["RssAnon"] + figures["RssShmem"]) / 1024, threads, ended and threads > 1)


class Looks:
    """One thing that is measured of workers, in a thread of its own, and told on the loop.

    ``measure(worker)`` returns what ``told`` is given with the worker, None when its process has gone.
    """

    def __init__(
        self, name: str, measure: Callable[[RunningWorker], Any], told: Callable[[RunningWorker, Any], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._measure = measure
        self._told = told
        self._todo: queue.SimpleQueue[list[RunningWorker] | None] = queue.SimpleQueue()
        self._measuring = False
        self._cpu: dict[RunningWorker, float] = {}
        """What they had used when they were looked at last."""
        self._rest: dict[RunningWorker, float] = {}
        """Until when those are left alone that it took long to look at."""
        self._thread: threading.Thread | None = None

    def begin(self, cpu: dict[RunningWorker, float]) -> None:
        """Begins to look at those that have used CPU time since the last look; who did not run cannot have taken
        anything. One that seemed headless is looked at once more in any case: it may never run again.
        Does nothing while a look goes on."""
        if self._measuring:
            return
        now = time.monotonic()
        self._cpu = {worker: used for worker, used in self._cpu.items() if worker in cpu}
        self._rest = {worker: until for worker, until in self._rest.items() if worker in cpu and until > now}
        changed = {
            worker: used
            for worker, used in cpu.items()
            if (self._cpu.get(worker) != used or worker.headless) and worker not in self._rest
        }
        if not changed:
            return
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        self._measuring = True
        self._cpu.update(changed)
        self._todo.put(list(changed))

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (todo := self._todo.get()) is not None:
            found = []
            for worker in todo:
                began = time.monotonic()
                used = self._measured_or_not(worker)
                found.append((worker, used, time.monotonic() - began))
            try:
                self._loop.call_soon_threadsafe(self._measured, found)
            except RuntimeError:  # the loop has closed
                return

    def _measured_or_not(self, worker: RunningWorker) -> Any:
        try:
            return self._measure(worker)
        except OSError as error:  # the server has no descriptor left to look with; later it may
            logger.warning("What process %s uses cannot be measured now: %s", worker.pid, error)
            return None

    def _measured(self, found: Sequence[tuple[RunningWorker, Any, float]]) -> None:
        self._measuring = False
        for worker, used, took in found:
            if took * REST > INTERVAL:
                self._rest[worker] = time.monotonic() + took * REST
            if used is not None:
                self._told(worker, used)
                worker.look()


class Watch:
    """Looks at workers four times a second while there are any."""

    def __init__(self, workers: Callable[[], Iterable[RunningWorker]], tick: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._workers = workers
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None
        self._headcount = Headcount(workers, lambda worker: worker.look())
        self._memory = Looks("worker watch", lambda worker: at_a_glance(worker.pid), _used)
        self._disk = Looks("disk watch", lambda worker: taken(worker.pid, worker.scratch), _took)

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
        self._memory.close()
        self._disk.close()

    def _look(self) -> None:
        self._timer = None
        workers = list(self._workers())
        cpu = {worker: used for worker in workers if (used := cpu_seconds(worker.pid)) is not None}
        try:
            self._memory.begin(cpu)
            self._disk.begin(cpu)
            for worker in workers:
                worker.look()
            self._tick()
        finally:  # whatever happens to one look, the next one comes
            if workers:
                self.wake()


def _used(worker: RunningWorker, used: Used) -> None:
    worker.memory_mb, worker.threads = used.memory_mb, used.threads
    worker.headless = worker.headless + 1 if used.headless else 0


def _took(worker: RunningWorker, taken_bytes: float) -> None:
    worker.disk_mb = taken_bytes / MEGABYTE
