"""Runs: which requests ran functions, and how that went."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DataError, models, transaction
from django.utils import timezone

from functions_app.fields import TolerantJSONField
from pipeline_app.models.presence import Presence

logger = logging.getLogger(__name__)

GONE = "Its server process ended while it went on."
ENDED = ("outcome", "error", "steps", "wall_ms", "answer")
"""What is said of a run when it has ended."""


class RunQuerySet(models.QuerySet["Run"]):
    """Runs under way, and keeping the table at its size."""

    def under_way(self) -> RunQuerySet:
        """Returns the runs that were written at their start and go on in some process."""
        return self.filter(outcome=Run.Outcome.RUNNING, process__in=Presence.objects.alive().values("pk"))

    def bury(self) -> int:
        """Marks those failed whose process has ended without a word; returns how many."""
        alive = Presence.objects.alive().values("pk")
        lost = self.filter(outcome=Run.Outcome.RUNNING).exclude(process__in=alive)
        return lost.update(outcome=Run.Outcome.FAILED, error=GONE) if lost.exists() else 0

    def put(self, new: list[Run], begun: list[Run]) -> None:
        """Writes how runs ended: new ones, and those that were written when they began.

        One that no database takes is left out: it would hold up all others for ever.
        """
        try:
            with transaction.atomic(using=self.db):
                self.bulk_create(new, batch_size=500)
                if begun:
                    self.bulk_create(begun, update_conflicts=True, unique_fields=["id"], update_fields=ENDED)
        except (DataError, TypeError, ValueError):
            if len(new) + len(begun) == 1:
                logger.exception("Run %s can't be written, so it is left out", (new or begun)[0].pk)
                return
            for run in new:
                self.put([run], [])
            for run in begun:
                self.put([], [run])

    def prune(self, days: int, rows: int) -> int:
        """Deletes runs older than ``days`` and all beyond the newest ``rows``; returns how many."""
        deleted, _ = self.filter(started_at__lt=timezone.now() - timedelta(days=days)).delete()
        oldest_kept = self.order_by("-started_at").values_list("started_at", flat=True)[rows - 1 : rows].first()
        if oldest_kept is not None:
            deleted += self.filter(started_at__lt=oldest_kept).delete()[0]
        return deleted


class Run(models.Model):
    """One request that ran functions.

    ``steps`` is a list in the order they ended, one a call of a hook (all calls of one function's ``stream``
    hook are one): ``function``, ``version``, ``hook``, ``queue_ms`` (the wait for a worker), ``wall_ms``, ``cpu_ms``
    (None where it can't be told), ``memory_mb`` of the worker (None inline); and where there is anything to say
    ``calls``, ``exit`` (why the server stopped it, or how its worker ended), ``error`` ``{"type", "message", "line",
    "traceback"}`` and ``output``.
    """

    class Outcome(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled", "client left"
        STOPPED = "stopped"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    request_id = models.CharField(max_length=64)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="runs", db_constraint=False
    )
    model = models.CharField(max_length=300, blank=True)
    kind = models.CharField(max_length=10, default="chat")
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    error = models.TextField(blank=True)
    steps = models.JSONField(default=list)
    started_at = models.DateTimeField(db_index=True)
    wall_ms = models.FloatField()
    background = models.BooleanField(default=False, help_text="It goes on without its client.")
    process = models.CharField(
        max_length=100, blank=True, help_text="The server process, of runs written at their start."
    )
    answer = TolerantJSONField(null=True, help_text="What it answered, of background runs.")

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(outcome__in=["running", "succeeded", "failed", "cancelled", "stopped"]),
                name="run_outcome_is_known",
            ),
        ]
        indexes = [models.Index(fields=["user"], condition=models.Q(outcome="running"), name="runs_under_way")]

    def __str__(self) -> str:
        return f"{self.kind} {self.model} {self.started_at:%Y-%m-%d %H:%M:%S} {self.outcome}"

    def functions(self) -> list[str]:
        """Returns the ids of the functions that ran, each once, in order."""
        seen: dict[str, Any] = {step["function"]: None for step in self.steps}
        return list(seen)

    def _age_ms(self) -> float:
        """How long it has been going on, of a run that was written at its start; 0 of others."""
        going = self.outcome == self.Outcome.RUNNING
        return round((timezone.now() - self.started_at).total_seconds() * 1000, 3) if going else 0.0

    def to_wire(self, *, inside: bool) -> dict[str, Any]:
        """Returns the run as clients see it; times are epoch seconds.

        What functions printed, and where in their code they failed, is only for who may look inside.
        """
        return {
            "id": str(self.pk),
            "request_id": self.request_id,
            "user_id": None if self.user_id is None else str(self.user_id),
            "kind": self.kind,
            "model": self.model,
            "outcome": self.outcome,
            "background": self.background,
            "error": self.error or None,
            "started_at": self.started_at.timestamp(),
            "wall_ms": self.wall_ms or self._age_ms(),
            "steps": self.steps if inside else [_from_outside(step) for step in self.steps],
        }


def _from_outside(step: dict[str, Any]) -> dict[str, Any]:
    seen = {name: value for name, value in step.items() if name != "output"}
    if "error" in step:
        seen["error"] = {name: value for name, value in step["error"].items() if name != "traceback"}
    return seen
