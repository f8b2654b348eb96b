"""Usage: what the calls of a function cost, added up per five minutes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from functions_app.models.function import ID_LENGTH


class UsageQuerySet(models.QuerySet["Usage"]):
    """Writing, and keeping the table at its size."""

    KEY = ("function", "hook", "start", "process")

    def put(self, rows: Iterable[Usage]) -> None:
        """Stores rows that replace what the same process wrote for the same time before."""
        changed = [field.name for field in Usage._meta.concrete_fields if field.name not in ("id", *self.KEY)]
        self.bulk_create(list(rows), update_conflicts=True, unique_fields=self.KEY, update_fields=changed)

    def prune(self, days: int) -> int:
        """Deletes what is older than ``days``; returns how many rows."""
        deleted, _ = self.filter(start__lt=timezone.now() - timedelta(days=days)).delete()
        return deleted

    def of(self, function: str, since: datetime) -> UsageQuerySet:
        """Returns the rows of a function from a moment on."""
        return self.filter(function=function, start__gte=since)


class Usage(models.Model):
    """The calls of one hook of one function that ended within five minutes of one server process.

    A process writes its own rows, each time whole, so writing again after a failure changes nothing and
    processes never wait for each other. ``durations`` counts wall times by bucket (``pipeline_app.usage``).
    """

    function = models.CharField(max_length=ID_LENGTH)
    hook = models.CharField(max_length=20)
    start = models.DateTimeField(db_index=True)
    process = models.CharField(max_length=16, help_text="Random, made anew when a server process starts.")
    calls = models.PositiveBigIntegerField()
    errors = models.PositiveBigIntegerField()
    wall_ms = models.FloatField()
    cpu_ms = models.FloatField(help_text="Of the calls of which it is known.")
    cpu_calls = models.PositiveBigIntegerField()
    memory_mb = models.FloatField(null=True, help_text="The most that a worker had.")
    durations: models.JSONField[Any, Any] = models.JSONField(default=dict)

    objects = UsageQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "usage"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["function", "hook", "start", "process"], name="one_usage_row_per_time"),
        ]

    def __str__(self) -> str:
        return f"{self.function} {self.hook} {self.start:%Y-%m-%d %H:%M}"
