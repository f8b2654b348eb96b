"""Which worker serves a version: started on first use, shared, replaced on change, ended when nobody needs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from pipeline_app.errors import FunctionUnavailable
from pipeline_app.runners.advice import with_advice
from pipeline_app.runners.base import Code, Json
from pipeline_app.runners.breaker import Breakers, Opening
from pipeline_app.runners.exits import Exit, closed_by_us
from pipeline_app.runners.limits import loading_took_too_long
from pipeline_app.runners.watch import Watch, at_a_glance
from pipeline_app.runners.workers import RunningWorker
from pipeline_app.worker.errors import LoadError

if TYPE_CHECKING:
    from functions_app.policy import Policy

logger = logging.getLogger(__name__)

RETIRED_MOST = 2
"""How many workers of one function may be left that did not stop a call; the oldest goes first."""
REPLACED_IDLE = 30.0
"""Seconds that a worker is kept when nobody uses it and a newer version of its function has one."""
FAILURE_KEPT = 1.0
"""Seconds that a version which did not load is not tried again by everybody who comes along."""
SLOTS_KEPT = 1000
"""How many versions are remembered before those that did not load are forgotten."""
END_SECONDS = 5.0
TAKEN_SECONDS = 5.0
"""How long those who waited for a worker that gets no new calls have to take it."""

Start = Callable[[Code, "Pool"], Awaitable[RunningWorker]]


class _Slot:
    """The place of one version: its worker, or the start of it that all wait for."""

    __slots__ = ("failed", "failed_at", "outdated", "policy", "start", "worker")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.worker: RunningWorker | None = None
        self.start: asyncio.Task[RunningWorker] | None = None
        self.failed: LoadError | None = None
        self.failed_at = 0.0
        self.outdated = False
        """Whether one under another policy came to its place."""


class Pool:
    """All workers of this process. ``start`` forks one and opens its connections; everything is on one loop."""

    def __init__(
        self,
        start: Start,
        *,
        idle_seconds: float,
        memory_mb: float,
        on_trip: Callable[[Opening], None] | None = None,
    ) -> None:
        self.breakers = Breakers()
        self._start = start
        self._idle_seconds = idle_seconds
        self._memory_mb = memory_mb
        self._on_trip = on_trip
        self._slots: dict[str, _Slot] = {}
        self._newest: dict[str, str] = {}
        self._workers: set[RunningWorker] = set()
        self._ending: set[RunningWorker] = set()
        self._stuck: dict[str, list[RunningWorker]] = {}
        self._starts = asyncio.Semaphore(max(2, os.cpu_count() or 2))
        self._watch = Watch(lambda: self._workers, self._tick)
        self._closing = False

    # --- finding ------------------------------------------------------------------------------------

    def ready(self, code: Code) -> RunningWorker | None:
        """Returns the running worker of a version under this very policy; None when there is none now."""
        slot = self._slots.get(code.key)
        if slot is None or slot.worker is None:
            return None
        worker = slot.worker
        if worker.code is not code:
            if slot.policy is not code.policy and slot.policy != code.policy:
                return None
            slot.policy = code.policy
            worker.code = code
        return worker

    async def worker(self, code: Code, *, again: bool = False) -> RunningWorker:
        """Returns the worker of a version, started on first use, and the same for all who wait.

        Raises ``LoadError``, or ``FunctionUnavailable`` while the breaker is open. ``again`` tries anew what has
        just failed to load.
        """
        while True:
            found = self.ready(code)
            if found is not None:
                return found
            if self._closing:
                raise FunctionUnavailable(code.function_id, "load", "the server is stopping.", code="stopping")
            slot = self._slot(code)
            self._refuse_if_open(code)
            if slot.failed is not None and not again and time.monotonic() - slot.failed_at < FAILURE_KEPT:
                raise slot.failed
            if slot.start is None:
                slot.start = asyncio.create_task(self._begin(slot, code), name=f"start {code.function_id}")
                slot.start.add_done_callback(_look)
            # One start for everybody who waits; one who leaves doesn't stop it.
            worker = await asyncio.shield(slot.start)
            if slot.outdated and worker.exit is None:
                return worker

    def _slot(self, code: Code) -> _Slot:
        slot = self._slots.get(code.key)
        if slot is not None and slot.policy != code.policy:
            self._let_go(code.key)  # another policy is another sandbox
            slot.outdated = True
            slot = None
        if slot is None:
            if len(self._slots) > SLOTS_KEPT:
                self._slots = {key: kept for key, kept in self._slots.items() if kept.worker or kept.start}
            slot = self._slots[code.key] = _Slot(code.policy)
        return slot

    def _refuse_if_open(self, code: Code) -> None:
        breaker = self.breakers.find(code.key)
        if breaker is None or breaker.opening is None or not (seconds := breaker.closed_in):
            return
        message = f"it crashed again and again, most recently: {breaker.opening.reason}. It is tried again in "
        raise FunctionUnavailable(
            code.function_id, "load", f"{message}{seconds:.0f} s.", code="function_crashing", retry_after=seconds
        )

    async def _begin(self, slot: _Slot, code: Code) -> RunningWorker:
        try:
            breaker = self.breakers.find(code.key)
            if breaker is not None and breaker.pause:
                await asyncio.sleep(breaker.pause)
            async with self._starts:
                worker = await self._start(code, self)
            self._take_in(worker)
            await self.load(worker, code)
            if worker.exit is not None:
                raise _ended(worker.exit)
            slot.failed = None
            self._newest[code.function_id] = code.key
            if self._slots.get(code.key) is slot:
                slot.worker = worker
            elif slot.outdated:
                # Whoever waits asked for this very policy. Sent to the one slot of the version again, they and those
                # who asked for the other policy would end each other's starts for ever.
                worker.retired = True
                asyncio.get_running_loop().call_later(TAKEN_SECONDS, self.consider, worker)
            else:  # dropped while it started: those who wait find a newer one
                self._drain(worker)
            return worker
        except LoadError as error:
            slot.failed, slot.failed_at = error, time.monotonic()
            raise
        finally:
            slot.start = None
            if slot.worker is None and slot.failed is None and self._slots.get(code.key) is slot:
                del self._slots[code.key]

    def _take_in(self, worker: RunningWorker) -> None:
        if worker.exit is None:  # else it has ended while its connections were opened, and nobody tells so again
            self._workers.add(worker)
            self._watch.wake()

    @contextlib.asynccontextmanager
    async def aside(self, code: Code) -> AsyncIterator[RunningWorker]:
        """Starts a worker with nothing loaded that serves nobody else, and ends it afterwards.

        Its own end counts for no breaker: who asks learns of it, and nobody else was served by it.
        """
        if self._closing:
            raise FunctionUnavailable(code.function_id, "load", "the server is stopping.", code="stopping")
        async with self._starts:
            worker = await self._start(code, self)
        worker.is_aside = True
        worker.holders += 1
        self._take_in(worker)
        try:
            yield worker
        finally:
            worker.holders -= 1
            worker.kill(closed_by_us("what it was started for is done"))

    async def load(self, worker: RunningWorker, code: Code) -> None:
        """Loads the version in its worker. Raises ``LoadError``; the worker is ended then."""
        policy = code.policy
        call = worker.begin(
            "load",
            {
                "function_id": code.function_id,
                "number": code.number,
                "sha256": code.sha256,
                "source": code.source,
                "imports": {rule: list(modules) for rule, modules in policy.imports.items()},
                "output_mb": policy.output_mb,
                "sync_threads": policy.sync_concurrency,
            },
        )
        limit = policy.time_limit("load")
        call.limit(limit)
        await call.wait()
        if call.failure is not None and (worker.exit is None or call.failure.code == "time_limit"):
            failure: Json = loading_took_too_long(limit)
        elif worker.exit is not None:
            raise _ended(worker.exit, worker.log)
        elif call.done is not None and call.done.error is not None:
            kind, failure = call.done.error
            if kind == "valves":
                worker.refuse("loading failed as no loading can")
                raise _ended(cast(Exit, worker.exit))
        else:
            found = at_a_glance(worker.pid)
            if found is not None:
                worker.memory_mb = found[0]  # for calls that end before the watch has looked
            return
        worker.kill(closed_by_us("its version does not load"))
        failure = with_advice(failure, worker.code.policy)
        raise LoadError({**failure, "output": call.done.output if call.done is not None else []})

    # --- holding and letting go ---------------------------------------------------------------------

    def release(self, worker: RunningWorker) -> None:
        """Takes note that one holder fewer needs a worker."""
        worker.holders -= 1
        self.consider(worker)

    def consider(self, worker: RunningWorker) -> None:
        """Ends a worker that gets no new calls and is done with those it had."""
        if worker.retired and worker.exit is None and worker.drained:
            worker.kill(closed_by_us("it was replaced, and its last call is over"))

    def on_retire(self, worker: RunningWorker) -> None:
        """A worker did not stop a call: new calls go to a fresh one."""
        self._drop(worker)
        stuck = self._stuck.setdefault(worker.code.function_id, [])
        stuck.append(worker)
        self.consider(worker)
        if len(stuck) > RETIRED_MOST:
            stuck[0].kill(closed_by_us("more calls of its function did not stop than are borne"))

    def on_end(self, worker: RunningWorker, why: Exit) -> None:
        """A worker ended, or is being ended."""
        self._drop(worker)
        self._workers.discard(worker)
        self._ending.add(worker)
        worker.gone.add_done_callback(lambda _: self._ending.discard(worker))
        stuck = self._stuck.get(worker.code.function_id)
        if stuck is not None and worker in stuck:
            stuck.remove(worker)
            if not stuck:
                del self._stuck[worker.code.function_id]
        if self._newest.get(worker.code.function_id) == worker.code.key:
            del self._newest[worker.code.function_id]
        if why.crash and not worker.is_aside:
            self._crashed(worker, why)

    def _crashed(self, worker: RunningWorker, why: Exit) -> None:
        code, log = worker.code, worker.log
        logger.error(
            "The worker of '%s' v%s (pid %s) ended: %s%s",
            code.function_id,
            code.number,
            worker.pid,
            why.sentence,
            f"; its last output: {log[-2000:]}" if log else "",
        )
        breaker = self.breakers.of(code.key)
        seconds = breaker.crashed()
        if seconds is not None:
            now = time.time()
            breaker.opening = Opening(code.function_id, code.number, why.sentence, now, now + seconds, log)
            logger.error("'%s' v%s is not run for %.0f s: it crashed too often", code.function_id, code.number, seconds)
            if self._on_trip is not None:
                self._on_trip(breaker.opening)

    def _let_go(self, key: str) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None and slot.worker is not None:
            self._drain(slot.worker)

    def _drain(self, worker: RunningWorker) -> None:
        worker.retired = True
        self.consider(worker)

    def _drop(self, worker: RunningWorker) -> None:
        key = worker.code.key
        slot = self._slots.get(key)
        if slot is not None and slot.worker is worker:
            del self._slots[key]

    def forget(self, function_id: str | None = None) -> None:
        """Replaces the workers of one function, or of all, and closes their breakers; calls under way go on."""
        self.breakers.forget(function_id)
        for key in list(self._slots):
            if function_id is None or key.startswith(f"{function_id}:"):
                self._let_go(key)

    # --- now and then -------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        idle = sorted((w for w in self._workers if w.idle and not w.retired), key=lambda w: w.idle_since)
        total = sum(worker.own_mb for worker in self._workers)
        for worker in idle:
            code = worker.code
            newest = self._newest.get(code.function_id) == code.key
            if now - worker.idle_since > (self._idle_seconds if newest else min(self._idle_seconds, REPLACED_IDLE)):
                worker.kill(closed_by_us("nobody used it for a while"))
            elif total > self._memory_mb and now - worker.idle_since > 1.0:
                total -= worker.own_mb
                worker.kill(closed_by_us("all workers together use more memory than they may"))

    def state(self, function_id: str) -> Json:
        """Returns what there is to be seen of a function, see ``Runner.state``."""
        now = time.monotonic()
        known = list(self._workers)  # a copy: others ask from their own threads
        workers = [
            {
                "version": worker.code.number,
                "pid": worker.pid,
                "calls": len(worker.calls),
                "memory_mb": worker.memory_mb,
                "cpu": round(worker.cpu, 3),
                "idle_s": round(now - worker.idle_since, 1) if worker.idle else 0.0,
                "retired": worker.retired,
            }
            for worker in sorted(known, key=lambda worker: worker.started)
            if worker.code.function_id == function_id and not worker.is_aside
        ]
        breaker = self.breakers.open_of(function_id)
        opening = breaker.opening if breaker is not None else None
        told: Any = None
        if opening is not None:
            told = {"reason": opening.reason, "opened_at": opening.opened_at, "until": opening.until}
        return {"workers": workers, "breaker": told}

    async def close(self) -> None:
        """Ends all workers and waits until they are gone."""
        self._closing = True
        starts = [slot.start for slot in self._slots.values() if slot.start is not None]
        for start in starts:
            start.cancel()
        if starts:
            await asyncio.wait(starts, timeout=END_SECONDS)
        for worker in list(self._workers):
            worker.kill(closed_by_us("the server is stopping"))
        gone = [worker.gone for worker in self._ending]
        if gone:
            await asyncio.wait(gone, timeout=END_SECONDS)
        self._slots.clear()
        self._watch.close()


def _ended(why: Exit, log: str = "") -> LoadError:
    """Returns the error of a version whose worker ended while it loaded, with what it said last."""
    message = f"The source ended its process while it was loaded: {why.sentence}."
    return LoadError({"type": "WorkerDied", "message": message, "line": None, "traceback": log or None})


def _look(task: asyncio.Task[Any]) -> None:
    """Takes note of a start that failed after all had left."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
