"""What ran, recorded while it runs and written in batches off the request path."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from functions_app.fields import storable
from functions_app.models import User
from functions_app.system_events import Told, publish
from pipeline_app.asking import Questions
from pipeline_app.database import in_database
from pipeline_app.errors import FunctionError, RequestError, RunStopped, SandboxLimit
from pipeline_app.models import ApiKey, Destination, Letter, Presence, Run, RunEvent, Trip, Usage
from pipeline_app.models.presence import this_process
from pipeline_app.runners.base import Code, Outcome, Runner, Task
from pipeline_app.snapshot import Person
from pipeline_app.usage import Tally
from pipeline_app.worker.answers import Event

logger = logging.getLogger(__name__)

Json = dict[str, Any]

WAITING_MOST = 20_000
"""How many runs wait to be written before the oldest are dropped: a database that is gone must not fill the memory."""
ERROR_LENGTH = 2_000
TRACEBACK_LENGTH = 20_000
STOP_SECONDS = 1.0
"""How long a stopped request may take to end by itself before it is cancelled where it stands."""
END_SECONDS = 5.0
"""How long whoever stops a request waits for its end after that."""
LEFT_SECONDS = 1.0
"""How long a function goes on that was asking something when its client left: it may end in its own way."""

running: dict[uuid.UUID, Record] = {}
"""The requests of this process that run functions now."""


class Record:
    """One request, while its functions run. ``with record:`` around its work notes how that ended.

    Work that somebody stopped ends in ``RunStopped``, whatever it was doing.
    """

    __slots__ = (
        "_calls",
        "_clock",
        "_task",
        "answer",
        "background",
        "error",
        "id",
        "kind",
        "model",
        "news",
        "outcome",
        "person",
        "questions",
        "request_id",
        "started",
        "steps",
        "stopped",
        "stopping",
        "written",
    )

    def __init__(self, person: Person, request_id: str, kind: str, model: str) -> None:
        self.id = uuid.uuid4()
        self.person = person
        self.request_id = request_id
        self.kind = kind
        self.model = model
        self.steps: list[Json] = []
        self.started = time.time()
        self._clock = time.perf_counter()
        self.outcome: str = Run.Outcome.SUCCEEDED
        self.error = ""
        self.stopped = ""
        """Who stopped it; empty when nobody did."""
        self.stopping = False
        """Whether no call may begin any more."""
        self.questions: Questions | None = None
        """What its functions ask the client; None when it can't be asked."""
        self.background = False
        self.answer: Json | None = None
        """What it answered, where that is kept."""
        self.written = False
        """Whether its row is there while it goes on."""
        self.news: Told | None = None
        """What Event functions are told of it."""
        self._calls: set[str] = set()
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> None:
        running[self.id] = self
        self._task = asyncio.current_task()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            return
        if self.stopped and isinstance(error, FunctionError | asyncio.CancelledError):
            if isinstance(error, asyncio.CancelledError) and self._task is not None:
                self._task.uncancel()
            stop = RunStopped(str(self.id), self.stopped)
            self.fail(stop)
            raise stop from None
        if isinstance(error, asyncio.CancelledError):
            self.outcome = Run.Outcome.CANCELLED
        else:
            self.fail(error)

    @property
    def ask(self) -> Callable[[Json], Awaitable[Any]] | None:
        """What answers ``__event_call__`` in its hooks; None when nobody can be asked."""
        return self.questions.ask if self.questions is not None else None

    @property
    def age(self) -> float:
        """The seconds since it began."""
        return time.perf_counter() - self._clock

    def begin(self, task: Task) -> None:
        """Notes that a call begins. Raises ``RunStopped`` when the run was stopped before."""
        if self.stopping:
            raise RunStopped(str(self.id), self.stopped)
        task.record = self
        self._calls.add(task.id)

    def done(self, task: Task) -> None:
        """Notes that a call has ended."""
        self._calls.discard(task.id)

    async def stop(self, runner: Runner, by: str) -> None:
        """Stops the calls under way and lets no other begin; returns when the request has ended."""
        self.stopped, self.stopping = by, True
        reached = [await runner.cancel(call) for call in list(self._calls)]
        task = self._task
        if task is not None and not task.done():
            if any(reached):
                await asyncio.wait({task}, timeout=STOP_SECONDS)
            if not task.done():  # it waits for something else: a place, a worker, a client that does not read
                task.cancel()
                await asyncio.wait({task}, timeout=END_SECONDS)

    async def listen(self, tell: Callable[[Event], object]) -> None:
        """Lets functions ask the client, who hears of it through ``tell``; other processes may bring the answers."""
        self.questions = Questions(self.id, tell)
        await self.announce()

    async def announce(self) -> None:
        """Writes the row of a run that other processes are to know of while it goes on. Raises ``TooManyRuns``."""
        self.written = True
        try:
            await in_database(self._write_start)
        except asyncio.CancelledError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Ends a run whose work was cancelled before it began, and so left nothing but a row."""
        if self._task is None and self.written:
            self.outcome = Run.Outcome.CANCELLED
            self.end()

    async def left(self) -> None:
        """Takes note that the client has gone. A function that asks it something is told, and has a moment to end."""
        if self.questions is None or not self.questions.waiting:
            return
        self.questions.leave()
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=LEFT_SECONDS)

    def step(
        self, code: Code, hook: str, outcome: Outcome, error: FunctionError | None = None, *, waited: float = 0.0
    ) -> None:
        """Adds one call of one hook. Calls of ``stream`` hooks of one function are one step.

        Of a call that failed, what its error knows of it is taken. ``waited`` is how long its worker was waited for.
        """
        outcome = (error.outcome if error is not None else None) or outcome
        step: Json = {
            "function": code.function_id,
            "version": code.number,
            "hook": hook,
            "queue_ms": round((waited + outcome.queue) * 1000, 3),
            "wall_ms": round(outcome.wall * 1000, 3),
            "cpu_ms": None if outcome.cpu is None else round(outcome.cpu * 1000, 3),
            "memory_mb": None if outcome.memory_mb is None else round(outcome.memory_mb, 1),
        }
        if why := self._exit(outcome, error):
            step["exit"] = why
        if error is not None:
            step["error"] = {
                "type": storable(error.data.get("type")),
                "message": storable(str(error.data.get("message")))[:ERROR_LENGTH],
                "line": error.data.get("line"),
                "traceback": storable(str(error.data.get("traceback") or ""))[:TRACEBACK_LENGTH],
            }
        if outcome.output:
            step["output"] = storable(outcome.output)
        last = self._last_stream_step(code.function_id) if hook == "stream" and error is None else None
        if last is not None:
            last["wall_ms"] = round(last["wall_ms"] + step["wall_ms"], 3)
            last["queue_ms"] = round(last["queue_ms"] + step["queue_ms"], 3)
            last["calls"] = last.get("calls", 1) + 1
            if step["memory_mb"] is not None:
                last["memory_mb"] = max(last["memory_mb"] or 0, step["memory_mb"])
            if step["cpu_ms"] is not None:
                last["cpu_ms"] = round((last["cpu_ms"] or 0) + step["cpu_ms"], 3)
            if outcome.output:
                last["output"] = (last.get("output", []) + storable(outcome.output))[:1000]
            return
        self.steps.append(step)

    def _last_stream_step(self, function_id: str) -> Json | None:
        own = (s for s in reversed(self.steps) if s["function"] == function_id and s["hook"] == "stream")
        return next(own, None)

    def _exit(self, outcome: Outcome, error: FunctionError | None) -> str | None:
        """Returns why the server ended a call, or how its worker ended; None when it ended by itself."""
        if outcome.exit:
            return outcome.exit
        if isinstance(error, SandboxLimit):
            return error.code
        return "stopped" if error is not None and self.stopping else None

    def fail(self, error: BaseException) -> None:
        self.outcome = Run.Outcome.STOPPED if isinstance(error, RunStopped) else Run.Outcome.FAILED
        self.error = str(getattr(error, "message", None) or error)[:ERROR_LENGTH]

    def end(self) -> None:
        """Hands the record over for writing, when any function ran or its row is there already."""
        running.pop(self.id, None)
        if self.questions is not None:
            self.questions.leave()
        if self.steps or self.written:
            log.add(self, self.age * 1000)

    def to_wire(self, *, inside: bool) -> Json:
        """Returns the run so far, as clients see it."""
        wire = self.row(self.age * 1000).to_wire(inside=inside)
        return {**wire, "outcome": "running", "error": None}

    def row(self, wall_ms: float) -> Run:
        return Run(
            id=self.id,
            request_id=self.request_id[:64],
            user_id=self.person.id or None,
            model=storable(self.model)[:300],
            kind=self.kind,
            outcome=self.outcome,
            error=storable(self.error),
            steps=self.steps,
            started_at=datetime.fromtimestamp(self.started, tz=timezone.get_default_timezone()),
            wall_ms=round(wall_ms, 3),
            background=self.background,
            process=this_process() if self.written else "",
            answer=self.answer,
        )

    def _write_start(self) -> None:
        row = self.row(0.0)
        row.outcome = Run.Outcome.RUNNING
        with transaction.atomic():
            if self.background:
                self._check_background()
            row.save(force_insert=True)

    def _check_background(self) -> None:
        """Raises ``TooManyRuns``. Holds the person's row, so that several at once can't pass for one."""
        list(User._base_manager.select_for_update(no_key=True).filter(pk=self.person.id).values_list("pk"))
        most = settings.FUNCTIONS_BACKGROUND_RUNS
        own = Run.objects.under_way().filter(user_id=self.person.id, background=True)
        if own.count() >= most:
            raise TooManyRuns(most)


class TooManyRuns(RequestError):
    """A person has as many background runs as they may have at once."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most} background runs already, as many as there may be at once (FUNCTIONS_BACKGROUND_RUNS). "
            "Wait for one to end, or stop one.",
            param="background",
            code="too_many_runs",
            headers={"Retry-After": "5"},
        )


def under_way(named: str, may: Callable[[Person, str], bool], person: Person) -> list[Record]:
    """Returns the running requests that an id names, if the person may: by the run's own id, or else by the one that
    the person gave the request. That is chosen by clients, and others may have chosen the same for theirs."""
    allowed = [record for record in list(running.values()) if may(person, record.person.id)]
    found = [record for record in allowed if named == str(record.id)]
    return found or [r for r in allowed if named == r.request_id and r.person.id == person.id]


class RunLog:
    """Records that wait to be written, totals that grow, and keys that were used."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Record, float]] = []
        self._tally = Tally()
        self._used: dict[Any, float] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pruned = 0.0

    def add(self, record: Record, wall_ms: float) -> None:
        with self._lock:
            self._waiting.append((record, wall_ms))
            self._tally.add(record.steps)
            if len(self._waiting) > WAITING_MOST:
                del self._waiting[: WAITING_MOST // 10]
                logger.error(
                    "Runs can't be written as fast as they come: the oldest %s were dropped", WAITING_MOST // 10
                )

    def used(self, key_id: Any) -> None:
        """Notes that a key was used now."""
        self._used[key_id] = time.time()

    def write(self) -> int:
        """Writes what waits; returns how many runs. What can't be written now is kept for the next time."""
        with self._writing:  # one at a time: an older sum must not be written over a newer one
            with self._lock:
                waiting, self._waiting = self._waiting, []
                used, self._used = self._used, {}
                sums = self._tally.rows()
            try:
                with transaction.atomic():
                    fresh = [record.row(wall_ms) for record, wall_ms in waiting if not record.written]
                    Run.objects.put(fresh, [record.row(wall_ms) for record, wall_ms in waiting if record.written])
                    publish(record.news for record, _ in waiting if record.news is not None)
                    Usage.objects.put(sums)
                    for key_id, when in used.items():
                        moment = datetime.fromtimestamp(when, tz=timezone.get_default_timezone())
                        ApiKey.objects.filter(pk=key_id).update(last_used_at=moment)
            except BaseException:
                with self._lock:
                    self._waiting[:0] = waiting
                    self._used = {**used, **self._used}
                raise
            with self._lock:
                self._tally.written(sums)
            self._prune()
            return len(waiting)

    def _prune(self) -> None:
        """Keeps the tables at their size, now and then."""
        if time.monotonic() - self._pruned > 600:
            self._pruned = time.monotonic()
            Run.objects.bury()
            Run.objects.prune(settings.FUNCTIONS_RUN_DAYS, settings.FUNCTIONS_RUN_ROWS)
            RunEvent.objects.prune(settings.FUNCTIONS_RUN_ROWS)
            for left in (Letter.objects, Presence.objects):
                left.prune()
            for rows in (Usage.objects, Destination.objects, Trip.objects):
                rows.prune(settings.FUNCTIONS_RUN_DAYS)

    async def keep_writing(self) -> None:
        """Writes once an interval until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(settings.FUNCTIONS_RUN_SECONDS)
                if self._waiting or self._used:
                    try:
                        await in_database(self.write)
                    except Exception:  # it outlives whatever the database does, and a run that can't be written
                        logger.exception("Runs can't be written; trying again in a moment")
        finally:
            if self._waiting or self._used:
                await asyncio.shield(in_database(self.write))


log = RunLog()
