"""Keeps a zygote running: started again when it dies, with a pause that grows; workers of a dead one live on.

One that not every server needs is there only while it has work (``OnDemand``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline_app.runners.watch import at_a_glance
from pipeline_app.runners.zygote import NotStarted, Zygote, ZygoteGone

if TYPE_CHECKING:
    from pipeline_app.runners.forked import Forked
    from pipeline_app.runners.spawn import Spawner

logger = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds that a start of a worker waits for a zygote."""
PAUSES = (0.0, 0.2, 1.0, 5.0)
"""Seconds before the next start, by the number of zygotes that ended soon after they began; the last repeats."""
SOON = 60.0
KEPT_WITH_WORKERS = 16
LEAST_IDLE = 0.05

Make = Callable[[Callable[[], None]], "Zygote | Spawner"]


class Supervisor:
    """The zygote of a runner, whichever process that is at the moment. ``make`` gives a new one, not yet started."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._zygote: Zygote | Spawner | None = None
        self._former: list[Zygote | Spawner] = []
        self._changed = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._failures = 0
        self._began = 0.0
        self._closing = False
        self.trouble = ""
        """Why there is no zygote, while there is none."""
        self.shared_mb = 0.0
        """The memory of the zygote as it began, which its workers have in common with it."""
        self.missed: frozenset[str] = frozenset()
        """Modules that what it has loaded looked for and did not find."""

    async def start(self) -> None:
        """Starts the first zygote. Raises ``NotStarted``."""
        await self._start()

    @property
    def pid(self) -> int:
        """The process that forks now; 0 while there is none."""
        return self._zygote.pid if self._zygote is not None else 0

    @property
    def has_workers(self) -> bool:
        """Whether a worker of this zygote or of one before lives."""
        return any(zygote.workers for zygote in (self._zygote, *self._former) if zygote is not None)

    async def fork(self, config: dict[str, Any]) -> Forked:
        """Returns a new worker, of the next zygote when this one dies meanwhile. Raises ``NotStarted``."""
        ends = self._loop.time() + PATIENCE
        while not self._closing and (left := ends - self._loop.time()) > 0:
            zygote = self._zygote
            if zygote is not None and zygote.alive:
                with contextlib.suppress(ZygoteGone):
                    return await zygote.fork(config)
                await asyncio.sleep(0)  # sending may tell of an end before the loop has looked at the socket
                continue
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        raise NotStarted(f"The process that makes workers is not there. {self.trouble}".strip())

    async def renew(self) -> None:
        """Has another zygote fork from now on; the workers of this one live on. Raises ``NotStarted``."""
        before = self._zygote
        if before is None or not before.pid:
            await self._start()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(before.pid, signal.SIGKILL)
        ends = self._loop.time() + PATIENCE
        while self._zygote is None or self._zygote is before:
            if self._closing or self._loop.time() > ends:
                raise NotStarted(f"The process that makes workers cannot be started anew. {self.trouble}".strip())
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Ends the zygote, and all workers of this one and of those before."""
        self._closing = True
        self._changed.set()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        for zygote in (self._zygote, *self._former):
            if zygote is not None:
                await zygote.close()

    async def _start(self) -> None:
        zygote = self._make(self._ended)
        await zygote.start()
        self._zygote, self._began, self.trouble = zygote, self._loop.time(), ""
        found = at_a_glance(zygote.pid) if zygote.pid else None
        self.shared_mb = found[0] if found is not None else 0.0
        self.missed = frozenset(zygote.up.get("missed", ()))
        self._changed.set()

    def _ended(self) -> None:
        if self._zygote is not None:
            self._former.append(self._zygote)
            self._zygote = None
        self._failures = self._failures + 1 if self._loop.time() - self._began < SOON else 0
        if not self._closing and self._starting is None:
            self._starting = self._loop.create_task(self._start_again(), name="start zygote")

    async def _start_again(self) -> None:
        try:
            while not self._closing:
                await asyncio.sleep(PAUSES[min(self._failures, len(PAUSES) - 1)])
                try:
                    for zygote in self._former[:-KEPT_WITH_WORKERS]:
                        self._former.remove(zygote)
                        await zygote.close()
                    await self._start()
                    return
                except NotStarted as error:
                    self._failed(str(error))
                except Exception as error:  # no thread to be had, no disk: nobody else would ever try again
                    self._failed(f"It cannot be started: {error}.")
        finally:
            self._starting = None

    def _failed(self, why: str) -> None:
        self._failures += 1
        self.trouble = why
        logger.error("%s", why)


class OnDemand:
    """A zygote with its supervisor from the first worker that is wanted until none has lived for ``idle_seconds``."""

    def __init__(self, make: Make, idle_seconds: float) -> None:
        self._make = make
        self._idle_seconds = max(idle_seconds, LEAST_IDLE)
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._supervisor: Supervisor | None = None
        self._forking = 0
        self._used = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def pid(self) -> int:
        """The process that forks now; 0 while there is none."""
        return self._supervisor.pid if self._supervisor is not None else 0

    @property
    def shared_mb(self) -> float:
        """See ``Supervisor.shared_mb``."""
        return self._supervisor.shared_mb if self._supervisor is not None else 0.0

    async def fork(self, config: dict[str, Any]) -> Forked:
        """Returns a new worker. Raises ``NotStarted``."""
        self._forking += 1
        try:
            supervisor = await self._started()
            return await supervisor.fork(config)
        finally:
            self._forking -= 1
            self._used = self._loop.time()

    async def close(self) -> None:
        """Ends the zygote and all its workers."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        async with self._turn:  # a start under way goes on to where it can be ended
            self._end()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _started(self) -> Supervisor:
        async with self._turn:
            if self._closing:
                raise NotStarted("The server is stopping.")
            if self._supervisor is None:
                supervisor = Supervisor(self._make)
                await supervisor.start()
                self._supervisor = supervisor
                self._used = self._loop.time()
                self._look_later()
            return self._supervisor

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._idle_seconds, self._look)

    def _look(self) -> None:
        assert self._supervisor is not None
        now = self._loop.time()
        if self._forking or self._supervisor.has_workers:
            self._used = now
        if now - self._used >= self._idle_seconds:
            self._end()
        else:
            self._look_later()

    def _end(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            ending = self._loop.create_task(supervisor.close(), name="end zygote")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
