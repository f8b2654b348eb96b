"""What is to be built and nobody is at: versions and sets of packages that wait, taken up by exactly one process.

Whoever publishes writes that down before (``functions_app.models.claims``), and does it at once as a rule. This finds
what is left over: because its process died, because it stopped in good order and gave the work back, or because
nobody did more than ask. Every server process looks; the claim decides who gets it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError

from functions_app.acting import acting_as
from functions_app.models import Environment, FunctionVersion, claims
from functions_app.runtime import RequirementError, ShuttingDown
from pipeline_app import preparing
from pipeline_app.database import in_database

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
BURY_SECONDS = 600.0
AT_ONCE = 2
"""How many a process has taken up at a time: a server that starts again has more to do than this."""


class Builder:
    """What this process has taken up, while it serves."""

    def __init__(self) -> None:
        self._alarm = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._renewed = time.monotonic()
        self._buried = self._renewed - BURY_SECONDS

    def wake(self) -> None:
        """Looks at once, from any thread; does nothing while the process does not serve."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._alarm.set)

    async def run(self) -> None:
        """Looks until cancelled, and renews the claims of this process."""
        self._loop = asyncio.get_running_loop()
        claims.renewing = True
        try:
            while True:
                try:
                    await self._look()
                except Exception:  # it outlives whatever the database does
                    logger.exception("Looking for what is to be built failed; trying again in a moment")
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._alarm.wait()
                except TimeoutError:
                    pass
                self._alarm.clear()
        finally:
            claims.renewing = False
            self._loop = None

    async def _look(self) -> None:
        now = time.monotonic()
        if claims.held and now - self._renewed > claims.RENEW_SECONDS:
            self._renewed = now
            await in_database(claims.renew, list(claims.held))
        if now - self._buried > BURY_SECONDS:
            self._buried = now
            await in_database(Environment.objects.bury)
        while len(self.tasks) < AT_ONCE and (found := await in_database(_take)) is not None:
            task = asyncio.create_task(self._build(found), name=f"building {found}")
            self.tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._alarm.set()

    @staticmethod
    async def _build(found: FunctionVersion | Environment) -> None:
        work: Any = _publish if isinstance(found, FunctionVersion) else _install
        try:
            await in_database(work, found)
        except ShuttingDown:
            logger.info("%s was not done before the server stopped; it is taken up again", found)
        except Exception:
            logger.exception("%s can't be built", found)


def give_back() -> None:
    """Gives back all that this process has claimed, because it ends."""
    for claim in list(claims.held):
        FunctionVersion.objects.give_back(claim)
        Environment.objects.give_back(claim)


def _take() -> FunctionVersion | Environment | None:
    found: Any = FunctionVersion.objects.take(claims.new_claim())
    return found or Environment.objects.exclude(asked_at=None).take(claims.new_claim())


def _publish(version: FunctionVersion) -> None:
    if version.taken > claims.TAKEN_MOST:
        version.give_up()
        logger.error("%s is given up: the process ended each time that it was published", version)
        return
    logger.warning("Publishing %s, which waited for that", version)
    try:
        with acting_as(*version.wished_by()):
            version.carry_out()
    except (ObjectDoesNotExist, DatabaseError):
        if FunctionVersion.objects.filter(pk=version.pk).exists():
            raise
        logger.info("%s was deleted while it was published", version)


def _install(row: Environment) -> None:
    claim = row.claimed_by
    try:
        if row.taken > claims.TAKEN_MOST:
            message = f"Building it was begun {claims.TAKEN_MOST} times, and the server process ended each time."
            row.failed("ended", message)
        else:
            preparing.build(row)
    except RequirementError as error:
        logger.warning("The packages %s can't be had: %s", ", ".join(row.requirements), error)
    except ShuttingDown:
        Environment.objects.filter(pk=row.pk).give_back(claim)
        raise
    finally:
        claims.held.discard(claim)
