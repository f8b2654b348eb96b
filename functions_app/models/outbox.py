"""The outbox: system events that wait for Event functions, written in the transaction of the change they tell of."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from functions_app.fields import TolerantJSONField


class OutboxEventQuerySet(models.QuerySet["OutboxEvent"]):
    """Events that wait."""


class OutboxEvent(models.Model):
    """One system event on its way to the Event functions that are active."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    payload = TolerantJSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    due_at = models.DateTimeField(default=timezone.now, db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    claimed_by = models.CharField(max_length=100, blank=True)
    delivered_to = TolerantJSONField(default=list, help_text="The functions that have had it.")
    error = models.TextField(blank=True)

    objects = OutboxEventQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.name} {self.created_at:%Y-%m-%d %H:%M:%S}"
