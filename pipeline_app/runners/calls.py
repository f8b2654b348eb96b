"""One call under way in a worker, as the server sees it: who waits for it, until when, and how it is stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline_app.errors import FunctionError, SandboxLimit
from pipeline_app.runners.base import Identity, Outcome, Task
from pipeline_app.runners.limits import LATE, Pause, took_too_long
from pipeline_app.runners.messages import Done, event
from pipeline_app.worker.answers import Event
from pipeline_app.worker.protocol import MEGABYTE, WINDOW, ProtocolError

if TYPE_CHECKING:
    from pipeline_app.runners.workers import RunningWorker

GRACE = 1.0
"""Seconds that a stopped function has to end before its caller goes on without it."""
ITEMS_AT_ONCE = 2000
"""How many items a consumer gets at once: however short they are, it works on each, and others wait meanwhile."""
WHOLE_ANSWER = 4
"""A streamed answer, or the events of one call, may be so many times ``output_mb`` long in all."""


class RemoteCall:
    """From its frame out to its ``done`` in, or to the end of its worker. Everything happens on the loop.

    It stays with its worker until the author's code has ended, also when nobody waits for it any more.
    """

    __slots__ = (
        "_gentle_end",
        "_late",
        "_limit",
        "_paused",
        "_ready",
        "_ready_bytes",
        "_timer",
        "_total",
        "_waiter",
        "abandoned",
        "cpu",
        "cpu_at_start",
        "done",
        "failure",
        "number",
        "on_end",
        "ordered",
        "outstanding",
        "over",
        "pause",
        "requests",
        "share_at_start",
        "started",
        "stopping",
        "taken",
        "task",
        "worker",
    )

    def __init__(
        self, worker: RunningWorker, number: int, task: Task | None, on_end: Callable[[], None] | None
    ) -> None:
        self.worker = worker
        self.number = number
        self.task = task
        self.on_end = on_end
        self.started = time.perf_counter()
        self.done: Done | None = None
        """What the worker told at the end; None when it has not, or died."""
        self.failure: FunctionError | None = None
        """Why the call ends without the function's own answer; goes before ``done``."""
        self.over = False
        """Nobody has to wait any longer: the author's code has ended, or did not in time, or its worker did."""
        self.stopping = False
        self.ordered = False
        self.abandoned = False
        self.requests: set[asyncio.Task[None]] = set()
        self.outstanding = 0
        self.taken = 0
        self.share_at_start = 0.0
        self.cpu_at_start = 0.0
        self.cpu: float | None = None
        self._ready: list[Any] = []
        self._ready_bytes = 0
        self._total = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._limit: tuple[float, bool] | None = None
        self._late = False
        self.pause = Pause()
        self._paused = 0.0
        self._gentle_end: asyncio.TimerHandle | None = None

    @property
    def hook(self) -> str:
        return self.task.hook if self.task is not None else "load"

    @property
    def identity(self) -> Identity:
        """For whom it asks something of the server."""
        code, caller = self.worker.code, self.task.caller if self.task is not None else None
        return Identity(caller, code.policy, code.function_id, self.hook, self.task)

    # --- for whoever waits --------------------------------------------------------------------------

    async def wait(self) -> None:
        """Waits until the call is over. A cancelled caller stops the function, and waits no longer than ``GRACE``."""
        try:
            await self._wait()
        except asyncio.CancelledError:
            await self.leave()
            raise

    async def take(self) -> list[Any]:
        """Returns the items that are ready, waiting for the first; an empty list is the end."""
        while True:
            if len(self._ready) > ITEMS_AT_ONCE:
                items, self._ready = self._ready[:ITEMS_AT_ONCE], self._ready[ITEMS_AT_ONCE:]
                await asyncio.sleep(0)  # a turn for others, between two that are long
                return items
            if self._ready:
                items, size = self._ready, self._ready_bytes
                self._ready, self._ready_bytes = [], 0
                self.worker.took(self, size)
                return items
            if self.over:
                return []
            await self._woken()

    async def leave(self) -> None:
        """Stops the function because nobody wants its answer any more, and waits a moment for its end."""
        self.abandoned = True
        self._drop()
        if self.over:
            return
        self.stop("The client went away.")
        try:
            async with asyncio.timeout(GRACE):
                await self._wait()
        except TimeoutError:
            pass  # it ends when it ends; its own limit still holds

    def outcome(self, value: Any = None) -> Outcome:
        """Returns what the call cost so far, and what it printed."""
        told = self.done
        cpu = self.cpu if self.cpu is not None else self.worker.share_of(self)
        if told is not None and told.cpu is not None and cpu is not None:
            # The worker knows its threads better; but it can't have used more than its process did.
            cpu = min(told.cpu, max(cpu, self.worker.cpu_since(self)))
        return Outcome(
            value,
            told.metadata if told is not None else None,
            time.perf_counter() - self.started,
            cpu,
            (told.output or []) if told is not None else [],
            memory_mb=self.worker.memory_mb,
            exit=None if self.failure is None else self.failure.data["message"],
            profile=told.profile if told is not None else None,
        )

    async def _wait(self) -> None:
        while not self.over:
            await self._woken()

    async def _woken(self) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- limits -------------------------------------------------------------------------------------

    def limit(self, seconds: float | None, *, first: bool = False) -> None:
        """Stops the call after so many seconds; what was set before holds no longer. ``first`` is for words only."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and not self.over:
            self._limit, self._paused = (seconds, first), self.pause.seconds
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._expire)

    def _expire(self) -> None:
        assert self._timer is not None
        assert self._limit is not None
        loop = asyncio.get_running_loop()
        late = loop.time() - self._timer.when()
        paused = self.pause.seconds
        again, self._paused = paused - self._paused, paused
        if late > LATE and not self._late:
            self._late = True  # once: the loop was held up, for which the function is not to blame
            again += late
        if again > 0:
            self._timer = loop.call_later(again, self._expire)
            return
        self._timer = None
        limit, first = self._limit
        if self.task is not None and self.task.time_limit is not None and not first:
            limit = self.task.time_limit  # what was left of it after the first chunk is not what the policy says
        self.order(self._limit_error(took_too_long(limit, first=first)))

    def _limit_error(self, message: str, code: str = "time_limit", status: int = 504) -> SandboxLimit:
        return SandboxLimit(self.worker.code.function_id, self.hook, message, code=code, status=status)

    # --- stopping -----------------------------------------------------------------------------------

    def stop(self, message: str) -> None:
        """Asks the worker to stop the author's code. It ends when it ends."""
        if not self.stopping and not self.over:
            self.stopping = True
            self.worker.send(["stop", self.number, message])

    def order(self, failure: FunctionError) -> None:
        """Ends the call with a failure: the code is stopped, and where it doesn't stop its worker is retired."""
        if self.over or self.ordered:
            return
        self.ordered = True
        self.failure = self.failure or failure
        self.limit(None)
        self.stop(failure.data["message"])
        self.worker.ping()
        self._gentle_end = asyncio.get_running_loop().call_later(GRACE, self._give_up)

    def _give_up(self) -> None:
        self._gentle_end = None
        if not self.over:
            self._finish()
            self.worker.retire(f"a call of {self.hook} did not stop")

    # --- for the worker -----------------------------------------------------------------------------

    def receive(self, items: list[Any], size: int) -> None:
        """Takes items that came in. Raises ``ProtocolError`` when they are more than the consumer gave credit for."""
        if self.outstanding and self.outstanding + size > WINDOW:
            raise ProtocolError("more items than there was credit for")
        self.outstanding += size
        if self.abandoned or self.ordered or self.over:
            return
        if self._limit is not None and self._limit[1]:
            self._first_came()
        self._count(size)
        if self._ready:
            self._ready += items
        else:
            self._ready = items
        self._ready_bytes += size
        self.worker.waiting_bytes += size
        self._wake()

    def tell(self, told: Any, size: int) -> None:
        """Takes an event that came in."""
        made = event(told)
        if self.task is not None and self.task.on_event is not None and not self.abandoned and not self.over:
            self._count(size)
            self.task.on_event(Event(made))

    def _first_came(self) -> None:
        assert self.task is not None
        ends = self.task.time_limit
        self._limit = None
        self.limit(None if ends is None else ends - (time.perf_counter() - self.started) + self.pause.seconds)

    def _count(self, size: int) -> None:
        self._total += size
        self.worker.told_bytes += size
        most = self.worker.code.policy.output_mb * WHOLE_ANSWER
        if self._total > most * MEGABYTE:
            message = f"its answer is longer than {most} MB in all ({WHOLE_ANSWER} times output_mb of its policy)"
            self.order(self._limit_error(message, "output_limit", 502))

    def _drop(self) -> None:
        if self._ready:
            self._ready = []
            self.worker.unload(self._ready_bytes)
            self._ready_bytes = 0

    def end(self, done: Done | None, failure: FunctionError | None = None) -> None:
        """The author's code has ended: with what the worker told, or with its worker."""
        self.done = done
        self.failure = self.failure or failure
        if self.failure is not None and done is not None and done.error is not None and done.error[0] == "hook":
            self.failure.locate(done.error[1])
        if self._gentle_end is not None:
            self._gentle_end.cancel()
            self._gentle_end = None
        self._finish()
        for request in list(self.requests):
            request.cancel()
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    def _finish(self) -> None:
        self.over = True
        self.worker.told_bytes -= self._total
        self._total = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
