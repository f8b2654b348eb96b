"""Trips: when a function had died so often that calls to it were refused for a while."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from functions_app.fields import storable
from functions_app.models.function import ID_LENGTH

KEPT = 100
"""Rows kept of one function."""
REASON_LENGTH = 2_000
LOG_LENGTH = 20_000


class TripQuerySet(models.QuerySet["Trip"]):
    """Noting that a breaker opened."""

    def note(self, function: str, version: int, until: datetime, reason: str, log: str, process: str) -> Trip:
        """Adds a row and drops the function's oldest beyond what is kept. ``log`` is cut at its start."""
        trip = self.create(
            function=function,
            version=version,
            until=until,
            reason=storable(reason)[:REASON_LENGTH],
            log=storable(log)[-LOG_LENGTH:],
            process=process[:100],
        )
        beyond = self.filter(function=function).order_by("-opened_at", "-pk").values_list("pk", flat=True)[KEPT:]
        self.filter(pk__in=list(beyond)).delete()
        return trip

    def prune(self, days: int) -> int:
        """Deletes what is older than ``days``; returns how many rows."""
        return self.filter(opened_at__lt=timezone.now() - timedelta(days=days)).delete()[0]


class Trip(models.Model):
    """One opening of one process's breaker. The function may be gone: its id is plain text."""

    function = models.CharField(max_length=ID_LENGTH)
    version = models.PositiveIntegerField()
    opened_at = models.DateTimeField(default=timezone.now, db_index=True)
    until = models.DateTimeField(help_text="When calls are let through again by themselves.")
    reason = models.TextField(help_text="How its workers ended.")
    log = models.TextField(blank=True, help_text="The end of what the worker wrote.")
    process = models.CharField(max_length=100, help_text="Host and process id of the server process.")

    objects = TripQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        ordering = ["-opened_at"]
        indexes = [models.Index(fields=["function", "-opened_at"], name="trip_by_function")]

    def __str__(self) -> str:
        return f"{self.function} v{self.version} {self.opened_at:%Y-%m-%d %H:%M:%S}"
