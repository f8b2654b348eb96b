"""Sets of packages that functions run with: what was asked for, what that was locked to, and how building it went."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, models, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.utils import timezone

from functions_app import generation
from functions_app.fields import TolerantJSONField, storable
from functions_app.models import claims
from functions_app.models.base import WatchedModel
from functions_app.models.claims import ClaimedModel, ClaimedQuerySet

if TYPE_CHECKING:
    from functions_app.models.version import FunctionVersion, FunctionVersionQuerySet

LOG_LENGTH = 200_000
"""Characters of a log that are kept, its end."""
LOST_AFTER = timedelta(hours=1)
"""When a set that nobody builds any more, and nobody waits for, counts as failed."""


NEEDING = ("draft", "building", "live")
"""The states of versions that run with their set, or may come to at any moment."""


def requirement_key(requirements: Iterable[str], python: str) -> str:
    """Returns what finds a set again: the same for the same requirements in any order, for one interpreter."""
    text = "\n".join([python, *sorted(set(requirements))])
    return hashlib.sha256(text.encode()).hexdigest()


def last_line(log: str) -> str:
    return log.rstrip().rpartition("\n")[2]


class EnvironmentQuerySet(ClaimedQuerySet["Environment"]):
    """Sets of packages, by what is asked of them."""

    def fitting(self, python: str, base: str) -> EnvironmentQuerySet:
        """Returns those that are locked for this interpreter and, where they lie over base packages, for these."""
        return self.filter(Q(base="") | Q(base=base), python=python).exclude(lock="")

    def wanted_by(
        self, version: FunctionVersion, requirements: list[str], python: str, base: str
    ) -> Environment | None:
        """Returns the locked set that a version is to run with, without resolving anything; None when there is none.

        It is its own, else that of the same requirements, else that of another version of its function with the same
        requirements: an edit that asks for the same packages gets the same.
        """
        fitting = self.fitting(python, base)
        if version.environment_id is not None and (own := fitting.filter(pk=version.environment_id).first()):
            return own
        key = requirement_key(requirements, python)
        if (same := fitting.filter(key=key).order_by("-created_at").first()) is not None:
            return same
        others = version.function.versions.filter(environment__in=fitting).order_by("-number").defer("source")
        for other in others.select_related("environment")[:20]:
            told = (other.manifest or {}).get("requirements")
            if isinstance(told, list) and sorted(map(str, told)) == sorted(requirements):
                return other.environment
        return None

    def attempt(self, requirements: list[str], python: str) -> Environment:
        """Returns the one row of a set that is yet to be locked, as being built; made where it is missing."""
        key = requirement_key(requirements, python)
        with transaction.atomic(using=self.db):
            row, made = self.get_or_create(
                key=key, digest="", defaults={"requirements": requirements, "python": python}
            )
            if not made:
                row.begin()
        return row

    def with_users(self) -> EnvironmentQuerySet:
        """Adds ``users``: how many functions have a version that runs with it, or may come to."""
        users = Count("versions__function", distinct=True, filter=Q(versions__state__in=NEEDING))
        return self.annotate(users=users)

    def unused(self, before: datetime) -> EnvironmentQuerySet:
        """Returns those that are ready, but of no version that serves or may come to, nor used since ``before``."""
        later = _versions().filter(function=OuterRef("function"), number__gt=OuterRef("number"))
        waiting = Q(state="broken") & ~Exists(later)  # to be tried again, perhaps
        needing = _versions().filter(Q(state__in=NEEDING) | waiting, environment=OuterRef("pk"))
        return self.filter(~Exists(needing), state=Environment.State.READY, used_at__lt=before)

    def needless(self, before: datetime) -> EnvironmentQuerySet:
        """Returns those of which nothing is left but a record, which no version refers to."""
        left = Q(state=Environment.State.FAILED) | Q(state=Environment.State.READY, size=0)
        return self.filter(left, versions__isnull=True, used_at__lt=before)

    def use(self) -> None:
        """Notes that the sets of versions that serve are in use."""
        serving = _versions().filter(environment=OuterRef("pk"), state="live")
        self.filter(Exists(serving)).update(used_at=timezone.now())

    def bury(self) -> int:
        """Notes of sets that nobody builds any more, because a process ended, that they failed; returns how many."""
        from functions_app.models.version import FunctionVersion

        waiting = FunctionVersion.objects.filter(environment=OuterRef("pk"), state="building")
        lost = self.abandoned().filter(~Exists(waiting), asked_at=None, updated_at__lt=timezone.now() - LOST_AFTER)
        message = "The process that was building it ended before it was done. Try again."
        return lost.update(state=Environment.State.FAILED, error={"code": "ended", "message": message})


def _versions() -> FunctionVersionQuerySet:
    from functions_app.models.version import FunctionVersion

    return FunctionVersion.objects.all()


class Environment(ClaimedModel, WatchedModel):
    """One set of packages. Functions with the same lock share it.

    It begins with requirements and no lock. ``kind`` says how a locked one is used: *overlay*, laid over the base
    packages, or *complete*, in their place. ``error`` is ``{"code", "message"}`` of one that failed, which is tried
    again only when somebody asks for that: by publishing a version that needs it, or by ``retry``.
    """

    class State(models.TextChoices):
        BUILDING = "building"
        READY = "ready"
        FAILED = "failed"

    generation_half = generation.FUNCTIONS
    generation_ignores = claims.FIELDS | {"log", "size", "used_at", "updated_at", "asked_at"}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    requirements = TolerantJSONField(default=list, help_text="What functions asked for, as PEP 508 strings.")
    key = models.CharField(max_length=64, blank=True, db_index=True, editable=False)
    lock = models.TextField(blank=True, help_text="Exact versions with hashes.")
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the lock; names the directory.")
    kind = models.CharField(max_length=10, blank=True, choices=[("overlay", "overlay"), ("complete", "complete")])
    packages = TolerantJSONField(default=dict, help_text="Version by name, as locked.")
    python = models.CharField(max_length=100, blank=True, help_text="Interpreter and platform it is for.")
    base = models.CharField(max_length=100, blank=True, help_text="The base packages that an overlay lies over.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.BUILDING)
    error = TolerantJSONField(null=True, editable=False)
    log = models.TextField(blank=True)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes on disk.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    used_at = models.DateTimeField(default=timezone.now, editable=False)
    asked_at = models.DateTimeField(
        null=True, editable=False, help_text="When it was asked for by itself, without a version that waits for it."
    )

    objects = EnvironmentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["building", "ready", "failed"]), name="environment_state_is_known"
            ),
            models.CheckConstraint(condition=~Q(state="ready") | ~Q(digest=""), name="ready_environment_has_a_digest"),
            models.CheckConstraint(
                condition=~Q(state="failed") | Q(error__isnull=False), name="failed_environment_has_an_error"
            ),
            models.UniqueConstraint(fields=["digest"], condition=~Q(digest=""), name="one_environment_per_lock"),
            models.UniqueConstraint(
                fields=["key"], condition=Q(digest="") & ~Q(key=""), name="one_attempt_per_set_of_requirements"
            ),
        ]

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.requirements)) or 'no requirements'} ({self.state})"

    @property
    def progress(self) -> str:
        """Returns the last thing that was said while it was built; empty when nothing was."""
        return last_line(self.log)

    @property
    def is_abandoned(self) -> bool:
        """Whether it is to be built and nobody is at it."""
        return type(self).objects.filter(pk=self.pk).abandoned().exists()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody is going to build it: who asked for it, or a version that is being published."""
        return self.asked_at is not None or self.versions.filter(state="building").exists()

    # --- How it fares ------------------------------------------------------------------------------

    def begin(self) -> None:
        """It is being built, from now on, with an empty log."""
        self._become(self.State.BUILDING, error=None, log="")

    def say(self, lines: Iterable[str]) -> None:
        """Adds lines to the log."""
        self.log = (self.log + "".join(f"{line}\n" for line in lines))[-LOG_LENGTH:]
        self._store(log=self.log, updated_at=timezone.now())

    def locked(self, lock: str, digest: str, kind: str, packages: Mapping[str, str], base: str) -> Environment:
        """Keeps what the requirements were locked to. Returns the row of that lock: this one, unless it has one."""
        found = {"lock": lock, "digest": digest, "kind": kind, "packages": dict(packages)}
        found["base"] = base if kind == "overlay" else ""
        rows = type(self).objects.using(self._state.db)
        try:
            with transaction.atomic(using=self._state.db):
                if self._store(updated_at=timezone.now(), **found):
                    return self
        except IntegrityError:
            pass
        # Somebody else got the same lock for other requirements, or did away with this attempt because of that.
        return rows.get(digest=digest)

    def ready(self, size: int) -> None:
        """It is built and can be used."""
        now = timezone.now()
        if self.state == self.State.READY and self.size == size and self.error is None:
            self._store(used_at=now)
            return
        self._become(self.State.READY, error=None, size=size, used_at=now, asked_at=None, **claims.UNCLAIMED)

    def failed(self, code: str, message: str, log: str = "") -> None:
        """It can't be had, for this reason. ``log`` is what uv said, where that is not in the log already."""
        kept = self.log
        if log.strip() and log.strip() not in kept:
            kept = f"{kept}{log.rstrip()}\n"
        error = {"code": code, "message": message}
        self._become(
            self.State.FAILED, error=error, log=kept[-LOG_LENGTH:], asked_at=None, used_at=timezone.now(),
            **claims.UNCLAIMED,
        )  # fmt: skip

    def discard(self, other: Environment | None = None) -> None:
        """Deletes an attempt; what refers to it gets ``other``, None when all that was asked for was there already."""
        with transaction.atomic(using=self._state.db):
            self.versions.update(environment=other)
            type(self).objects.using(self._state.db).filter(pk=self.pk).delete()

    def retry(self, *, is_there: bool = True) -> list[FunctionVersion]:
        """Has it built again; returns the versions that are published again because only it was in their way.

        Those are the newest wish for their function, and are still broken by it. Nothing is done here but writing
        that down: a server process does it. One that is being built stays as it is, and so does one that is ready,
        unless its folder is not there.
        """
        from functions_app.models.version import FunctionVersion

        again: list[FunctionVersion] = []
        with transaction.atomic(using=self._state.db):
            row = type(self).objects.select_for_update(of=("self",)).get(pk=self.pk)
            self.state, self.error, self.log = row.state, row.error, row.log
            if (row.state == self.State.READY and is_there) or (
                row.state == self.State.BUILDING and not (row.is_abandoned and not row.is_waited_for)
            ):
                return again
            self._become(self.State.BUILDING, error=None, log="", **claims.UNCLAIMED)
            broken = FunctionVersion.objects.filter(environment=self, state="broken", error__type="RequirementError")
            for version in broken.select_related("function").order_by("-asked_at"):
                function = version.function
                later = function.versions.filter(asked_at__gt=version.asked_at) if version.asked_at else ()
                if not any(other.pk != version.pk for other in later):
                    version.ask_for_publication(claim="")
                    again.append(version)
            self._store(asked_at=None if again else timezone.now())
        return again

    def _become(self, state: str, **changes: Any) -> None:
        self._store(state=state, updated_at=timezone.now(), **changes)

    def _store(self, **changes: Any) -> int:
        """Sets and stores these columns and no other: an object read before must not undo what others wrote.

        Returns 0 when the row is gone.
        """
        kept = {name: storable(value) if isinstance(value, str) else value for name, value in changes.items()}
        for name, value in kept.items():
            setattr(self, name, value)
        return type(self).objects.using(self._state.db).filter(pk=self.pk).update(**kept)
