"""Takes system events from the outbox to the Event functions.

Every server process looks for what is due: at once when it has committed events itself, else once a second while an
Event function is active. Which process delivers is settled by a claim on the function, so each event arrives once; one
whose process dies is delivered again by another, under the same id. A function gets its events in order, one at a
time; those of other functions wait for nothing of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.db import transaction

from functions_app import generation, system_events
from functions_app.models import Function, OutboxEvent, Valves
from functions_app.models.outbox import LEASE
from functions_app.policy import Policy
from functions_app.system_events import FAREWELL, Told
from pipeline_app.calls import noted
from pipeline_app.codes import code_in
from pipeline_app.configured import set_by_admin
from pipeline_app.database import in_database
from pipeline_app.errors import FunctionError, RunStopped
from pipeline_app.models.presence import this_process
from pipeline_app.roster import Roster
from pipeline_app.runners.base import Runner, Task
from pipeline_app.runs import Record
from pipeline_app.snapshot import Entry, Person, snapshot

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
BATCH = 20
"""How many events of a function a process claims at once."""
RENEW_SECONDS = LEASE.total_seconds() / 4
PRUNE_SECONDS = 600.0
GOODBYE_SECONDS = 5.0
"""How long a server that stops waits for Event functions to hear of it."""

NOBODY = Person("", False, {}, frozenset(), None, frozenset(), None, {}, {})
"""Who is behind the call of an Event function."""


class Dispatcher:
    """The deliveries of this process."""

    def __init__(self, runner: Callable[[], Runner]) -> None:
        self._runner = runner
        self._alarm = asyncio.Event()
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._token: bytes | None = None
        self._more = True
        """Whether there may be events although nobody listens now."""
        self._renewed = self._pruned = time.monotonic()
        self._roster = Roster(settings.DATA_DIR)
        self._first = self._last = False

    # --- While the server serves -------------------------------------------------------------------

    async def run(self) -> None:
        """Delivers until cancelled."""
        loop = asyncio.get_running_loop()

        def ring() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._alarm.set)

        system_events.alarms.add(ring)
        try:
            while True:
                try:
                    await self._look()
                except Exception:  # it outlives whatever the database does
                    logger.exception("Looking for system events failed; trying again in a second")
                await self._wait(LOOK_SECONDS)
        finally:
            system_events.alarms.discard(ring)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._alarm.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        """Begins to deliver what is due; asks the database only when there can be anything."""
        if self._alarm.is_set():
            self._alarm.clear()
            self._more = True
        now = time.monotonic()
        if self._deliveries and now - self._renewed > RENEW_SECONDS:
            self._renewed = now
            await in_database(OutboxEvent.objects.renew, this_process(), list(self._deliveries))
        functions = await snapshot.functions()
        if functions.listened or self._more or functions.token != self._token:
            self._token = functions.token
            self._more = await self._begin()
        if now - self._pruned > PRUNE_SECONDS:
            self._pruned = now
            await in_database(OutboxEvent.objects.prune, settings.FUNCTIONS_RUN_DAYS, settings.FUNCTIONS_RUN_ROWS)

    async def _begin(self) -> bool:
        """Begins to deliver for all functions for which something is due; returns whether there is any."""
        due = await in_database(_due)
        for function_id in due:
            if function_id not in self._deliveries:
                task = asyncio.create_task(self._deliver_all(function_id), name=f"events for {function_id}")
                self._deliveries[function_id] = task
        return bool(due)

    async def _deliver_all(self, function_id: str) -> None:
        """Delivers what is due for a function, as long as anything is."""
        try:
            while events := await in_database(OutboxEvent.objects.claim, function_id, this_process(), BATCH):
                for event in events:
                    await self._deliver(event)
        except Exception:  # what is still claimed falls due when nobody renews it
            logger.exception("System events for '%s' can't be delivered; trying again in a moment", function_id)
        finally:
            del self._deliveries[function_id]

    async def _deliver(self, event: OutboxEvent) -> None:
        """Calls the function with an event, and notes how that went."""
        entry = await self._reader(event)
        error: FunctionError | RunStopped | None = None
        if entry is not None and entry.has("event"):
            try:
                await self._call(entry, event)
            except (FunctionError, RunStopped) as failure:
                error = failure
        if error is None:
            await in_database(event.delivered)
            return
        over = isinstance(error, RunStopped) or not (entry and entry.serves)
        message = error.message
        if await in_database(event.failed, message, for_good=over):
            logger.warning("'%s' failed on %s and will get it again: %s", event.function, event.name, message)
        else:
            logger.error("'%s' failed on %s, which is given up: %s", event.function, event.name, message)

    @staticmethod
    async def _reader(event: OutboxEvent) -> Entry | None:
        """Returns the function that gets an event; None when it listens no more."""
        entry = (await snapshot.functions()).active(event.function, "event")
        if entry is not None:
            return entry
        # A snapshot may be a moment older than the event; and a function that was switched off hears of that.
        entry = await in_database(_entry, event.function)
        if entry is None or entry.kind != "event":
            return None
        subject = event.payload.get("subject") or {}
        return entry if entry.serves or (event.name == FAREWELL and subject.get("id") == event.function) else None

    async def _call(self, entry: Entry, event: OutboxEvent) -> None:
        """Calls the hook. Raises ``FunctionError``, and ``RunStopped`` when somebody stopped it."""
        record = Record(NOBODY, str(event.event_id), "event", event.name)

        async def task() -> Task:
            return Task(
                "event",
                event.payload,
                {"id": entry.id},
                entry.set_valves("event"),
                on_event=lambda _: None,
                time_limit=entry.policy.time_limit("event"),
            )

        try:
            with record:
                await noted(record, self._runner(), entry.code, "event", task)
        finally:
            record.end()

    # --- When it starts and stops ------------------------------------------------------------------

    async def starts(self) -> None:
        """Publishes that the server starts, when this is its first process."""
        if await asyncio.to_thread(self._roster.enter):
            await self._tell("system.startup.started")
            self._first = True

    async def started(self) -> None:
        """Publishes that the server has started, when this is its first process."""
        if self._first:
            await self._tell("system.startup.completed")

    async def stops(self) -> None:
        """Publishes that the server stops, when this is its last process, and waits for that to be heard; then gives
        back what this process had claimed."""
        try:
            self._last = await asyncio.to_thread(self._roster.leave)
        except OSError:  # no descriptor left, no room: what else has to end ends all the same
            logger.exception("Whether other processes serve can't be told")
        if self._last:
            await self._tell("system.shutdown.started")
            await self._drain()
        for task in list(self._deliveries.values()):
            task.cancel()
        if self._deliveries:
            await asyncio.wait(list(self._deliveries.values()))
        try:
            await in_database(OutboxEvent.objects.release, this_process())
        except Exception:
            logger.exception("Claims on system events can't be given back; they end by themselves")

    async def stopped(self) -> None:
        """Publishes that the server has stopped, when this was its last process: for whoever serves next."""
        if self._last:
            await self._tell("system.shutdown.completed")

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                while await self._begin() or self._deliveries:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            logger.warning("Event functions had not heard of everything when the server stopped; they will later")
        except Exception:
            logger.exception("Event functions can't be told that the server stops")

    @staticmethod
    async def _tell(name: str) -> None:
        def write() -> None:
            with transaction.atomic():
                system_events.publish([Told(name)])

        try:
            await in_database(write)
        except Exception:
            logger.exception("%s can't be written into the outbox", name)


def _due() -> list[str]:
    """Returns the functions for which something is due."""
    due = OutboxEvent.objects.functions_due()
    if due:
        OutboxEvent.objects.forget_others()
    return due


def _entry(function_id: str) -> Entry | None:
    """Returns a function as it is in the database now, active or not; None without a live version."""
    row = Function.objects.select_related("live__environment").filter(pk=function_id).first()
    if row is None or row.live is None:
        return None
    live = row.live
    policy = Policy.resolve(row.policy, settings.FUNCTIONS_POLICY)
    epoch = generation.epoch() + row.epoch
    values, problem = set_by_admin(Valves.objects.filter(function=row).first(), (live.manifest or {}).get("valves"))
    return Entry(
        id=row.id,
        name=row.name,
        kind=row.kind,
        code=code_in(epoch, row.id, live, policy),
        is_global=row.is_global,
        created=int(row.created_at.timestamp()),
        description="",
        valves=values,
        valves_error=problem,
        serves=row.is_active,
    )
