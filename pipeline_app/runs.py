"""What ran, recorded while it runs and written in batches off the request path."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from pipeline_app.database import in_database
from pipeline_app.errors import FunctionError
from pipeline_app.models import ApiKey, Run
from pipeline_app.runners.base import Code, Outcome
from pipeline_app.snapshot import Person

logger = logging.getLogger(__name__)

Json = dict[str, Any]

WAITING_MOST = 20_000
"""How many runs wait to be written before the oldest are dropped: a database that is gone must not fill the memory."""
ERROR_LENGTH = 2_000
TRACEBACK_LENGTH = 20_000


def storable(value: Any) -> Any:
    """Returns JSON data without what PostgreSQL can't store in text: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


class Record:
    """One request, while its functions run."""

    __slots__ = ("_clock", "error", "id", "kind", "model", "outcome", "person", "request_id", "started", "steps")

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

    def step(self, code: Code, hook: str, outcome: Outcome, error: FunctionError | None = None) -> None:
        """Adds one call of one hook. Calls of ``stream`` hooks of one function are one step."""
        step: Json = {
            "function": code.function_id,
            "version": code.number,
            "hook": hook,
            "wall_ms": round(outcome.wall * 1000, 3),
            "cpu_ms": None if outcome.cpu is None else round(outcome.cpu * 1000, 3),
        }
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
            last["calls"] = last.get("calls", 1) + 1
            if step["cpu_ms"] is not None:
                last["cpu_ms"] = round((last["cpu_ms"] or 0) + step["cpu_ms"], 3)
            if outcome.output:
                last["output"] = (last.get("output", []) + storable(outcome.output))[:1000]
            return
        self.steps.append(step)

    def _last_stream_step(self, function_id: str) -> Json | None:
        own = (s for s in reversed(self.steps) if s["function"] == function_id and s["hook"] == "stream")
        return next(own, None)

    def fail(self, error: BaseException) -> None:
        self.outcome = Run.Outcome.FAILED
        self.error = str(getattr(error, "message", None) or error)[:ERROR_LENGTH]

    def cancel(self) -> None:
        self.outcome = Run.Outcome.CANCELLED

    def end(self) -> None:
        """Hands the record over for writing, when any function ran."""
        if self.steps:
            log.add(self, (time.perf_counter() - self._clock) * 1000)

    def row(self, wall_ms: float) -> Run:
        return Run(
            id=self.id,
            request_id=self.request_id[:64],
            user_id=self.person.id,
            model=storable(self.model)[:300],
            kind=self.kind,
            outcome=self.outcome,
            error=storable(self.error),
            steps=self.steps,
            started_at=datetime.fromtimestamp(self.started, tz=timezone.get_default_timezone()),
            wall_ms=round(wall_ms, 3),
        )


class RunLog:
    """Records that wait to be written, and keys that were used."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Record, float]] = []
        self._used: dict[Any, float] = {}
        self._lock = threading.Lock()
        self._pruned = 0.0

    def add(self, record: Record, wall_ms: float) -> None:
        with self._lock:
            self._waiting.append((record, wall_ms))
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
        with self._lock:
            waiting, self._waiting = self._waiting, []
            used, self._used = self._used, {}
        try:
            Run.objects.bulk_create([record.row(wall_ms) for record, wall_ms in waiting], batch_size=500)
            for key_id, when in used.items():
                moment = datetime.fromtimestamp(when, tz=timezone.get_default_timezone())
                ApiKey.objects.filter(pk=key_id).update(last_used_at=moment)
            if time.monotonic() - self._pruned > 600:
                self._pruned = time.monotonic()
                Run.objects.prune(settings.FUNCTIONS_RUN_DAYS, settings.FUNCTIONS_RUN_ROWS)
        except DatabaseError:
            with self._lock:
                self._waiting[:0] = waiting
            raise
        return len(waiting)

    async def keep_writing(self) -> None:
        """Writes once an interval until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(settings.FUNCTIONS_RUN_SECONDS)
                if self._waiting or self._used:
                    try:
                        await in_database(self.write)
                    except DatabaseError:
                        logger.exception("Runs can't be written; trying again in a moment")
        finally:
            if self._waiting or self._used:
                await asyncio.shield(in_database(self.write))


log = RunLog()
