"""What a run that others may follow leaves while it goes on: its frames, and the letters sent to it."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import timedelta

from django.db import models
from django.utils import timezone

from functions_app.fields import TolerantJSONField

LETTER_SECONDS = 60
"""A letter older than this is read by nobody: who sent it has long gone."""


class RunEventQuerySet(models.QuerySet["RunEvent"]):
    """The kept frames of runs."""

    def after(self, run_id: uuid.UUID, number: int, *, rows: int = 20) -> list[tuple[int, str]]:
        """Returns frames that follow the one with this number, each with its own: those of the next few rows."""
        found = []
        for row in self.filter(run_id=run_id, number__gt=number).order_by("number")[:rows]:
            frames = row.data.split("\n")
            found += list(enumerate(frames, row.number - len(frames) + 1))
        return [(own, data) for own, data in found if own > number]

    def prune(self, rows: int) -> int:
        """Deletes the frames of runs that are no longer kept, and of whole runs, with what they answered, those that
        have any beyond the newest ``rows``; returns how many rows."""
        from pipeline_app.models.run import Run

        old = self.filter(created_at__lt=timezone.now() - timedelta(hours=1))
        deleted: int = old.exclude(run_id__in=Run.objects.values("pk")).delete()[0]
        oldest_kept = self.order_by("-pk").values_list("pk", flat=True)[rows - 1 : rows].first()
        if oldest_kept is not None:
            beyond = self.filter(pk__lt=oldest_kept).order_by().values_list("run_id", flat=True).distinct()
            ended = Run.objects.filter(pk__in=list(beyond)).exclude(outcome=Run.Outcome.RUNNING)
            for run_id in list(ended.values_list("pk", flat=True)):
                deleted += self.filter(run_id=run_id).delete()[0]
                Run.objects.filter(pk=run_id).update(answer=None)
        return deleted


class RunEvent(models.Model):
    """Some frames of a run that is kept, in the order they came: the data of each on a line of its own.

    Frames are numbered from 1; their numbers are their ``id`` in a stream. ``number`` is that of the last one here.
    """

    run_id = models.UUIDField()
    number = models.PositiveIntegerField()
    data = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RunEventQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ["run_id", "number"]
        constraints = [models.UniqueConstraint(fields=["run_id", "number"], name="run_events_are_numbered")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.number}"


class LetterQuerySet(models.QuerySet["Letter"]):
    """Letters on their way."""

    def waiting(self) -> list[Letter]:
        """Returns those that no process has taken yet, without what is in them."""
        young = timezone.now() - timedelta(seconds=LETTER_SECONDS)
        return list(self.filter(taken_at=None, created_at__gte=young).defer("value"))

    def take(self, letter: Letter) -> Letter | None:
        """Takes a letter for this process, and returns it whole; None when another was quicker, or it is gone."""
        taken = self.filter(pk=letter.pk, taken_at=None).update(taken_at=timezone.now())
        return self.filter(pk=letter.pk).first() if taken else None

    def pass_by(self, letters: Collection[int]) -> None:
        """Notes that this process has looked at letters, and that none of them is for a run of its own."""
        self.filter(pk__in=letters, taken_at=None).update(passed=models.F("passed") + 1)

    def prune(self) -> int:
        """Deletes what crashed senders left; returns how many."""
        return self.filter(created_at__lt=timezone.now() - timedelta(hours=1)).delete()[0]


class Letter(models.Model):
    """Word for a run from another server process: an answer to a question, or to stop.

    ``sender`` and ``is_admin`` are what the sending process knows of the person; who has the run decides with them.
    """

    class Kind(models.TextChoices):
        ANSWER = "answer"
        STOP = "stop"

    run = models.CharField(max_length=64, help_text="The id of the run or, to stop it, of its request.")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    event_id = models.CharField(max_length=64, blank=True)
    value = TolerantJSONField(null=True)
    sender = models.CharField(max_length=64)
    is_admin = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    taken_at = models.DateTimeField(null=True, db_index=True)
    reply = TolerantJSONField(null=True, help_text="What became of it; null until then.")

    passed = models.PositiveIntegerField(
        db_default=0, help_text="How many processes have looked at it and have no such run."
    )

    objects = LetterQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.kind} for {self.run}"
