"""The outbox: system events that wait for Event functions, written in the transaction of the change they tell of."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from functions_app.fields import TolerantJSONField, storable

LEASE = timedelta(seconds=15)
"""How long a claim holds unless its process renews it: after that, the process counts as dead."""
DELAYS = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 300, 1800, 7200))
"""The waits between attempts; when they are used up, the event is given up."""
ERROR_LENGTH = 2_000


class OutboxEventQuerySet(models.QuerySet["OutboxEvent"]):
    """Events that wait, and whose turn it is."""

    def functions_due(self) -> list[str]:
        """Returns the functions for which something is due that no process is at."""
        now = timezone.now()
        claimed = self.exclude(claimed_by="").filter(due_at__gt=now).values("function")
        due = self.filter(due_at__lte=now).exclude(function__in=claimed)
        return list(due.order_by("function").values_list("function", flat=True).distinct())

    def claim(self, function_id: str, by: str, most: int) -> list[OutboxEvent]:
        """Takes the oldest due events of a function for a process; none while another process is at that function.

        The claim ends with the events, with ``release``, or when it was not renewed for ``LEASE``.
        """
        from functions_app.models.function import Function

        with transaction.atomic(using=self.db):
            # Who holds the function's row decides alone; SQLite lets one transaction write at a time anyway.
            row = Function._base_manager.using(self.db).select_for_update(skip_locked=True, no_key=True)
            if not list(row.filter(pk=function_id).values_list("pk")):
                return []
            now = timezone.now()
            own = self.filter(function=function_id)
            if own.exclude(claimed_by="").filter(due_at__gt=now).exists():
                return []
            events = list(own.filter(due_at__lte=now).order_by("pk")[:most])
            for event in events:
                event.claimed_by, event.due_at = by, now + LEASE
            self.filter(pk__in=[event.pk for event in events]).update(claimed_by=by, due_at=now + LEASE)
            return events

    def renew(self, by: str, functions: Collection[str]) -> None:
        """Says that a process is alive and still at what it has claimed for these functions."""
        self.filter(claimed_by=by, function__in=functions).update(due_at=timezone.now() + LEASE)

    def release(self, by: str) -> None:
        """Gives back what a process has claimed; it is due at once."""
        self.filter(claimed_by=by).update(claimed_by="", due_at=timezone.now())

    def forget_others(self) -> None:
        """Deletes what is due for functions that listen no more, except what says good-bye to them."""
        from functions_app.models.function import Function
        from functions_app.system_events import FAREWELL

        functions = Function.objects.using(self.db)
        gone = self.filter(due_at__lte=timezone.now()).exclude(
            function__in=functions.active().of_kind(Function.Kind.EVENT).values("pk")
        )
        unknown = ~Exists(functions.filter(pk=OuterRef("function")))
        gone.filter(unknown | ~Q(name=FAREWELL)).delete()

    def try_again(self) -> int:
        """Makes events due now, with all attempts before them; returns how many. What is claimed stays so."""
        return self.filter(claimed_by="").update(due_at=timezone.now(), attempts=0)

    def prune(self, days: int, rows: int) -> int:
        """Deletes what was given up ``days`` ago, and all beyond the newest ``rows``; returns how many."""
        deleted, _ = self.filter(due_at=None, created_at__lt=timezone.now() - timedelta(days=days)).delete()
        oldest_kept = self.order_by("-pk").values_list("pk", flat=True)[rows - 1 : rows].first()
        if oldest_kept is not None:
            deleted += self.filter(pk__lt=oldest_kept).delete()[0]
        return deleted


class OutboxEvent(models.Model):
    """One system event on its way to one Event function. It is deleted when it was delivered.

    ``due_at`` is when somebody may take it: the end of the claim while a process is at it, None when it was given up.
    """

    event_id = models.UUIDField(editable=False, help_text="The same for all functions that get it.")
    name = models.CharField(max_length=100)
    # Not a foreign key: a change must not fail because an Event function is deleted beside it.
    function = models.CharField(max_length=200)
    payload = TolerantJSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    due_at = models.DateTimeField(default=timezone.now, null=True, db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    claimed_by = models.CharField(max_length=150, blank=True, help_text="The server process that is at it.")
    error = models.TextField(blank=True)

    objects = OutboxEventQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        verbose_name = "event in the outbox"
        verbose_name_plural = "events in the outbox"
        indexes = [models.Index(fields=["function", "due_at"], name="outbox_by_function")]
        constraints = [
            models.UniqueConstraint(fields=["event_id", "function"], name="one_outbox_row_per_function"),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.function}"

    @property
    def state(self) -> str:
        """Returns how it fares: waiting, on its way, failed (tried again later) or given up."""
        if self.due_at is None:
            return "given up"
        if self.claimed_by:
            return "on its way"
        return "failed" if self.attempts else "waiting"

    def delivered(self) -> None:
        """Deletes it, unless another process has taken it over."""
        type(self).objects.filter(pk=self.pk, claimed_by=self.claimed_by).delete()

    def failed(self, error: str, *, for_good: bool = False) -> bool:
        """Notes why it was not delivered, and when that is tried again; returns whether it is."""
        again = not for_good and self.attempts < len(DELAYS)
        due_at = timezone.now() + DELAYS[self.attempts] if again else None
        type(self).objects.filter(pk=self.pk, claimed_by=self.claimed_by).update(
            attempts=self.attempts + 1, due_at=due_at, claimed_by="", error=storable(error)[:ERROR_LENGTH]
        )
        return again
