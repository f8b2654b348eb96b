"""Destinations: where functions went on the network, and where they were not let."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from functions_app.fields import storable
from functions_app.models.function import ID_LENGTH

KEPT = 500
"""Rows kept of one function: what it chooses to connect to must not fill the database."""
HOST_LENGTH = 255
REASON_LENGTH = 300


class Contact(NamedTuple):
    """One way in which a function met a host: ``verdict`` is ``reached`` or ``refused``."""

    function: str
    host: str
    port: int
    verdict: str


class Contacts(NamedTuple):
    """How often, when last, and what was said of it then (empty for ``reached``)."""

    times: int
    last_at: datetime
    reason: str


class DestinationQuerySet(models.QuerySet["Destination"]):
    """Counting, and keeping the table at its size."""

    def add(self, seen: Mapping[Contact, Contacts]) -> None:
        """Adds what a process counted since the last time; several processes may do so at once."""
        with transaction.atomic(using=self.db):
            for contact, contacts in sorted(seen.items()):
                key = contact._replace(host=storable(contact.host)[:HOST_LENGTH])._asdict()
                change = {"last_at": contacts.last_at, "reason": storable(contacts.reason)[:REASON_LENGTH]}
                if self.filter(**key).update(count=F("count") + contacts.times, **change):
                    continue
                # Somebody else may have made the row meanwhile: it begins at nothing, and then both add.
                self.bulk_create([self.model(**key, **change, count=0)], ignore_conflicts=True)
                self.filter(**key).update(count=F("count") + contacts.times, **change)
        for function in {contact.function for contact in seen}:
            self._keep_newest(function)

    def prune(self, days: int) -> int:
        """Deletes what was not met again for ``days``; returns how many rows."""
        return self.filter(last_at__lt=timezone.now() - timedelta(days=days)).delete()[0]

    def _keep_newest(self, function: str) -> None:
        own = self.filter(function=function).order_by("-last_at", "-pk")
        beyond = own.values_list("pk", flat=True)[KEPT:]
        self.filter(pk__in=list(beyond)).delete()


class Destination(models.Model):
    """A host and port that one function tried, and how often. The function may be gone: its id is plain text."""

    class Verdict(models.TextChoices):
        REACHED = "reached"
        REFUSED = "refused"

    function = models.CharField(max_length=ID_LENGTH)
    host = models.CharField(max_length=HOST_LENGTH, help_text="The name that was looked up, else the address.")
    port = models.PositiveIntegerField()
    verdict = models.CharField(max_length=7, choices=Verdict.choices)
    reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    count = models.PositiveBigIntegerField(default=0)
    last_at = models.DateTimeField()

    objects = DestinationQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["function", "host", "port", "verdict"], name="one_destination_row_per_verdict"
            ),
            models.CheckConstraint(
                condition=models.Q(verdict__in=["reached", "refused"]), name="destination_verdict_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.function} {self.verdict} {self.host}:{self.port}"
