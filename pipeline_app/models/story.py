"""What a run that others may follow leaves while it goes on: its events, and the letters sent to it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from functions_app.fields import TolerantJSONField


class RunEvent(models.Model):
    """One frame of a run that is kept, in the order they came; ``number`` is its ``id`` in the stream."""

    run_id = models.UUIDField()
    number = models.PositiveIntegerField()
    data = TolerantJSONField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        ordering = ["run_id", "number"]
        constraints = [models.UniqueConstraint(fields=["run_id", "number"], name="run_events_are_numbered")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.number}"


class Letter(models.Model):
    """Word for a run from another server process: an answer to a question, or to stop."""

    class Kind(models.TextChoices):
        ANSWER = "answer"
        STOP = "stop"

    run_id = models.UUIDField(db_index=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    event_id = models.CharField(max_length=64, blank=True)
    value = TolerantJSONField(null=True)
    sender = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ()
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.kind} for {self.run_id}"
