"""Which hosts functions reached or were refused, and how often: counted in memory, written in batches.

Author code decides how many hosts there are, so the memory has an end: what is beyond it is counted together.
The table keeps itself at its size.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from pipeline_app.database import in_database
from pipeline_app.models import Destination
from pipeline_app.models.destination import Contact, Contacts

logger = logging.getLogger(__name__)

OTHERS = "(other hosts)"
TOLD_APART = 200
"""How many hosts of one function are told apart between two writes."""


class Destinations:
    """What was counted since the last write. A ``quiet`` one logs nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._seen: dict[Contact, tuple[int, float, str]] = {}
        self._hosts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reached(self, function_id: str, host: str, port: int) -> None:
        """Counts a connection that was made."""
        self._count(Contact(function_id, host, port, Destination.Verdict.REACHED.value), "")

    def refused(self, function_id: str, host: str, port: int, reason: str) -> None:
        """Counts a connection or a name that was refused, and logs the first between two writes."""
        contact = Contact(function_id, host, port, Destination.Verdict.REFUSED.value)
        if self._count(contact, reason) and not self._quiet:
            logger.info("Function %s was refused %s:%s: %s", function_id, host, port, reason)

    def _count(self, contact: Contact, reason: str) -> bool:
        """Returns whether this is the first one to be told apart. From any thread; costs microseconds."""
        first = False
        with self._lock:
            if contact not in self._seen:
                first = self._hosts[contact.function] < TOLD_APART
                if first:
                    self._hosts[contact.function] += 1
                else:
                    contact, reason = contact._replace(host=OTHERS, port=0), ""
            times = self._seen[contact][0] if contact in self._seen else 0
            self._seen[contact] = times + 1, time.time(), reason
        return first

    def write(self) -> int:
        """Writes what was counted; returns how many rows. What can't be written now is kept for the next time."""
        with self._lock:
            seen, self._seen = self._seen, {}
            self._hosts.clear()
        zone = timezone.get_default_timezone()
        try:
            Destination.objects.add(
                {
                    contact: Contacts(times, datetime.fromtimestamp(last, tz=zone), reason)
                    for contact, (times, last, reason) in seen.items()
                }
            )
        except DatabaseError:
            self._put_back(seen)
            raise
        return len(seen)

    def _put_back(self, seen: dict[Contact, tuple[int, float, str]]) -> None:
        with self._lock:
            for contact, (times, last, reason) in seen.items():
                if contact in self._seen:
                    since, last, reason = self._seen[contact]
                    self._seen[contact] = since + times, last, reason
                elif len(self._seen) < 100 * TOLD_APART:  # a database that is gone must not fill the memory
                    self._seen[contact] = times, last, reason

    async def keep_writing(self) -> None:
        """Writes once an interval until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(settings.FUNCTIONS_RUN_SECONDS)
                if self._seen:
                    try:
                        await in_database(self.write)
                    except DatabaseError:
                        logger.exception("Destinations of functions can't be written; trying again in a moment")
        finally:
            if self._seen:
                await asyncio.shield(in_database(self.write))


log = Destinations()
