"""Sets of packages that functions run with."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from functions_app import generation
from functions_app.fields import TolerantJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet


class EnvironmentQuerySet(WatchedQuerySet["Environment"]):
    """Sets of requirements."""


class Environment(WatchedModel):
    """One set of requirements: what was asked for, what it was locked to, and how building it went."""

    class State(models.TextChoices):
        BUILDING = "building"
        READY = "ready"
        FAILED = "failed"

    generation_half = generation.FUNCTIONS

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    requirements = TolerantJSONField(default=list, help_text="What functions asked for, as PEP 508 strings.")
    lock = models.TextField(blank=True, help_text="Exact versions with hashes.")
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the lock; names the directory.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.BUILDING)
    log = models.TextField(blank=True)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes on disk.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = EnvironmentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["building", "ready", "failed"]), name="environment_state_is_known"
            ),
            models.CheckConstraint(condition=~Q(state="ready") | ~Q(digest=""), name="ready_environment_has_a_digest"),
            models.UniqueConstraint(fields=["digest"], condition=~Q(digest=""), name="one_environment_per_lock"),
        ]

    def __str__(self) -> str:
        return f"{', '.join(self.requirements) or 'no requirements'} ({self.state})"
