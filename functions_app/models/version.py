"""Versions of a function's source: immutable rows, and how one of them comes to serve."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from functions_app import frontmatter, generation
from functions_app.acting import Acting, acting
from functions_app.fields import TolerantJSONField, UndecryptableValves
from functions_app.models import claims
from functions_app.models.base import WatchedModel, check_text
from functions_app.models.claims import ClaimedModel, ClaimedQuerySet
from functions_app.models.environment import Environment
from functions_app.models.function import Function
from functions_app.models.user import User
from functions_app.models.valves import Valves
from functions_app.runtime import InvalidValves, LoadError, RequirementError, ShuttingDown, get_runtime

NOTE_LENGTH = 500


def clean_source(source: object) -> str:
    """Returns the source as it is. Raises ``ValidationError`` for one that is empty or can't be stored."""
    text = check_text(source, "The source")
    if not text.strip():
        raise ValidationError("The source is empty; paste the code of a function.", code="empty")
    return text


def clean_note(note: object) -> str:
    """Returns a version's note, cut to what is kept of it. Raises ``ValidationError`` for one that can't be stored."""
    return check_text(note, "The note").strip()[:NOTE_LENGTH]


class FunctionVersionQuerySet(ClaimedQuerySet["FunctionVersion"]):
    """Versions; what makes a version is refused as a change."""

    def update(self, **kwargs: Any) -> int:
        _refuse(kwargs)
        return super().update(**kwargs)

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None) -> int:
        fields = list(fields)
        _refuse(fields)
        return super().bulk_update(objs, fields, batch_size)

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        objs = list(objs)
        _refuse(kwargs.get("update_fields") or ())
        for version in objs:
            version.seal()
        return super().bulk_create(objs, *args, **kwargs)


class FunctionVersion(ClaimedModel, WatchedModel):
    """One source of a function, for good. Only how it fares (state, manifest, error, environment) changes.

    One that is *building* is being published, by whoever has the claim on it; ``wish`` is what that one has to know,
    so that another process can go on.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        BUILDING = "building"
        LIVE = "live"
        RETIRED = "retired"
        BROKEN = "broken"

    IMMUTABLE = ("function_id", "number", "source", "sha256", "created_at")
    generation_half = generation.FUNCTIONS
    generation_ignores = claims.FIELDS | {"wish"}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    function = models.ForeignKey(Function, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    source = models.TextField()
    sha256 = models.CharField("SHA-256", max_length=64, editable=False)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="function_versions"
    )
    note = models.CharField(max_length=NOTE_LENGTH, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    asked_at = models.DateTimeField(
        null=True, editable=False, help_text="When publishing was last asked for; the later wish wins."
    )
    manifest = TolerantJSONField(null=True, editable=False)
    error = TolerantJSONField(null=True, editable=False)
    environment = models.ForeignKey(
        "functions_app.Environment", on_delete=models.PROTECT, null=True, editable=False, related_name="versions"
    )
    wish = TolerantJSONField(
        null=True,
        editable=False,
        help_text="While it is building: what changes along with it, who wants that, and what state it was in.",
    )

    facts = TolerantJSONField(null=True, editable=False, help_text="Name and meta when another version took over.")

    objects = FunctionVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        indexes = [
            models.Index(fields=["asked_at"], condition=Q(state="building"), name="versions_being_built"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["function", "number"], name="version_number_is_unique"),
            models.UniqueConstraint(fields=["function"], condition=Q(state="live"), name="one_live_version"),
            models.CheckConstraint(condition=Q(number__gte=1), name="version_numbers_start_at_1"),
            models.CheckConstraint(condition=~Q(source=""), name="version_has_a_source"),
            models.CheckConstraint(condition=Q(sha256__regex=r"\A[0-9a-f]{64}\Z"), name="version_has_a_digest"),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "building", "live", "retired", "broken"]), name="version_state_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(state="live") | Q(manifest__isnull=False), name="live_version_has_a_manifest"
            ),
            models.CheckConstraint(
                condition=~Q(state="broken") | Q(error__isnull=False), name="broken_version_has_an_error"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.function_id} v{self.number}"

    def save(self, **kwargs: Any) -> None:
        if self._state.adding:
            self.seal()
            self.drop_lost_environment()
            kwargs["force_insert"] = True
        else:
            stored = type(self)._base_manager.using(self._state.db).values(*self.IMMUTABLE).filter(pk=self.pk).first()
            if stored is not None:
                _refuse([name for name, value in stored.items() if getattr(self, name) != value])
        super().save(**kwargs)

    def seal(self) -> None:
        """Checks a new version's source and note and computes the digest."""
        self.source, self.note = clean_source(self.source), clean_note(self.note)
        self.sha256 = hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def frontmatter(self) -> dict[str, str]:
        """Returns the pairs of the source's header."""
        return frontmatter.read(self.source)

    @property
    def requirements(self) -> list[str]:
        """Returns the packages that the source asks for. Raises ``RequirementError`` for a malformed one."""
        try:
            return frontmatter.requirements(self.frontmatter)
        except frontmatter.UnusableRequirement as error:
            raise RequirementError(str(error), code=error.code) from None

    def publish(self, **along: Any) -> bool:
        """Checks this version and lets it serve; returns whether it is the live one now.

        Its packages are prepared, its source is inspected among them and the stored valves are tried against
        its schema, all before anything changes. When that fails the version becomes broken with
        the reason in ``error``, and what was live stays live. A retired version is published in the same way. When a
        later wish to publish another version was fulfilled first, that one stays and this one is
        retired. Neither outcome touches the function's switch. ``along`` are fields of the function, such as its
        name, that change when this version goes live and not otherwise.
        """
        claim = claims.new_claim()
        return self.carry_out() if self.ask_for_publication(claim, **along) else True

    def ask_for_publication(self, claim: str, **along: Any) -> bool:
        """Writes down that this version is to be published; returns whether there is anything to do for that.

        ``claim`` says that whoever calls is about to ``carry_out``; without one a server process does. From now on
        that happens, whatever becomes of this process.
        """
        with transaction.atomic(using=self._state.db):
            function = self.function.lock()
            self.refresh_from_db(fields=["state", "environment", "wish"])
            if self.state == self.State.LIVE:
                function.change(**along)
                return False
            self.wait_for_publication(claim, **along)
            self.save(update_fields=["state", "asked_at", "wish", *claims.FIELDS])
        return True

    def wait_for_publication(self, claim: str, **along: Any) -> None:
        """Sets, and does not store, what says that this version is to be published."""
        before = self.state
        if before == self.State.BUILDING:
            before = (self.wish or {}).get("before", self.State.DRAFT)
        person, source = acting()
        by = None if person is None else person.get("id") if isinstance(person, dict) else person.pk
        self.wish = {"along": along, "before": before, "by": str(by) if by else None, "source": source}
        self.state, self.asked_at = self.State.BUILDING, timezone.now()
        claimed = {**claims.UNCLAIMED, **(claims.claimed(claim) if claim else {})}
        for name, value in claimed.items():
            setattr(self, name, value)

    def wished_by(self) -> Acting:
        """Returns who wants this version published."""
        wish = self.wish or {}
        by = wish.get("by")
        person = User.objects.filter(pk=by).first() if by else None
        return Acting(person, wish.get("source") or acting().source)

    def carry_out(self) -> bool:
        """Does what ``ask_for_publication`` wrote down, and returns what ``publish`` does.

        Raises ``ShuttingDown`` when the process ends meanwhile: another one begins anew.
        """
        assert self.asked_at is not None
        asked_at, wish, claim = self.asked_at, self.wish or {}, self.claimed_by
        try:
            self.function.refresh_from_db(fields=["policy"])
            manifest = self.inspected()
            served: bool | None = None
            while served is None:
                seen = self._check_valves(manifest)
                served = self._go_live(manifest, asked_at, seen, **wish.get("along", {}))
        except (RequirementError, LoadError, InvalidValves, UndecryptableValves) as error:
            return self._break(error)
        except ShuttingDown:
            type(self).objects.using(self._state.db).filter(pk=self.pk).give_back(claim)
            raise
        except BaseException:
            self._release(wish.get("before", self.State.DRAFT), asked_at)
            raise
        finally:
            claims.held.discard(claim)
        return served

    def give_up(self) -> None:
        """Ends a publication that never comes to an end: each process that began it ended before it did."""
        message = (
            f"Publishing this version was begun {claims.TAKEN_MOST} times, and each time the server process ended "
            "before it was done. Look into the server's log for the reason, then publish it again."
        )
        claims.held.discard(self.claimed_by)
        self._break(LoadError({"type": "Abandoned", "message": message, "line": None, "traceback": None}))

    def link(self, environment: Environment | None) -> None:
        """Lets this version run with a set of packages; stored at once, so that everybody can look how that fares."""
        if self.environment_id == (environment and environment.pk):
            self.environment = environment
            return
        self.environment = environment
        if not self._state.adding:
            stored = type(self).objects.using(self._state.db).filter(pk=self.pk)
            stored.exclude(state=self.State.LIVE).update(environment=environment)

    def drop_lost_environment(self) -> None:
        """Forgets a set that somebody did away with meanwhile, because its lock was another's."""
        if self.environment_id and not Environment.objects.filter(pk=self.environment_id).exists():
            self.environment = None

    def inspected(self) -> dict[str, Any]:
        """Returns the manifest of this version, which need not be saved, when it loads and keeps to its policy.

        Its packages are made ready before, and ``environment`` is set to them. Raises ``RequirementError``,
        ``LoadError`` and ``ShuttingDown``. Of the version itself no more than ``environment`` is stored.
        """
        runtime = get_runtime()
        requirements = self.requirements
        self.link(runtime.prepare(self))
        manifest = {**runtime.inspect(self), "frontmatter": self.frontmatter, "requirements": requirements}
        refused = self.function.effective_policy().refused_imports(manifest.get("imports", ()))
        if refused:
            # The same words as at an import (pipeline_app/worker/imports.py).
            message = (
                f"The policy of this function does not allow it to import {', '.join(refused)}. "
                "Do without, or have the rule changed (imports)."
            )
            raise LoadError({"type": "ImportError", "message": message, "line": None, "traceback": None})
        return manifest

    def _stored_valves(self) -> Valves | None:
        return Valves.objects.using(self._state.db).filter(function=self.function_id).first()

    def _check_valves(self, manifest: dict[str, Any]) -> datetime | None:
        """Tries stored valves and rules against this version; returns when they were set, None without any."""
        stored = self._stored_valves()
        if stored is None:
            return None
        stored.check_fit(self, manifest)
        return stored.changed_at

    def _become(self, state: str, **changes: Any) -> None:
        self.state = state
        for name, value in changes.items():
            setattr(self, name, value)
        self.save(update_fields=["state", *changes])

    def _break(self, error: Exception) -> bool:
        """Keeps the reason, unless a concurrent publication of the same version has succeeded."""
        with transaction.atomic(using=self._state.db):
            self.function.lock()
            self.refresh_from_db(fields=["state", "manifest"])
            if self.state != self.State.LIVE:
                self.drop_lost_environment()
                ends = {"wish": None, **claims.UNCLAIMED}
                self._become(self.State.BROKEN, error=_as_data(error), environment=self.environment, **ends)
        return self.state == self.State.LIVE

    def _release(self, state: str, asked_at: datetime) -> None:
        """Takes back the mark of a publication that ended without a verdict."""
        type(self).objects.using(self._state.db).filter(
            pk=self.pk, state=self.State.BUILDING, asked_at=asked_at
        ).update(state=state, wish=None, **claims.UNCLAIMED)

    def _go_live(
        self, manifest: dict[str, Any], asked_at: datetime, valves: datetime | None, **along: Any
    ) -> bool | None:
        """Moves ``live`` to this version in one transaction. Returns None, having done nothing, when the valves
        were set anew since they were checked."""
        with transaction.atomic(using=self._state.db):
            function = self.function.lock()
            stored = self._stored_valves()
            if (stored and stored.changed_at) != valves:
                return None
            live = function.live
            if live is not None and live.pk != self.pk and live.asked_at is not None and live.asked_at > asked_at:
                message = f"Version {live.number} was published while this one was being prepared; it serves."
                error = {"type": "Superseded", "message": message, "line": None, "traceback": None}
                self._become(
                    self.State.RETIRED, manifest=manifest, error=error, environment=self.environment, wish=None,
                    **claims.UNCLAIMED,
                )  # fmt: skip
                return False
            self.take_over(function, manifest)
            function.change(**along)
        self.function.live, self.function.kind = self, manifest["kind"]
        return True

    def take_over(
        self, function: Function, manifest: dict[str, Any], asked_at: datetime | None = None, facts: Any = None
    ) -> None:
        """Lets this version serve from now on, in place of what serves. ``manifest`` is what ``inspected`` returned.

        The caller's transaction holds the lock on ``function`` and has tried the stored valves. ``asked_at`` is when
        this was asked for, where ``publish`` didn't write it down; ``facts`` are the function's where they changed.
        """
        live = function.live
        if live is not None and live.pk != self.pk:
            live._become(self.State.RETIRED, facts=facts or {"name": function.name, "meta": function.meta})
        asked = {} if asked_at is None else {"asked_at": asked_at}
        self._become(
            self.State.LIVE, manifest=manifest, error=None, environment=self.environment, wish=None,
            **{**claims.UNCLAIMED, **asked},
        )  # fmt: skip
        function.live, function.kind = self, manifest["kind"]
        function.save(update_fields=["live", "kind", "updated_at"])

    def refit(self) -> bool:
        """Lets this version, which serves, run with the packages that ``prepare`` now finds for it, or with those in
        ``environment`` where these were set to a set that fits; returns False when it serves no more.

        It is inspected with them first: whatever fails leaves it as it was. Raises as ``inspected`` does, and
        ``InvalidValves``.
        """
        manifest = self.inspected()
        while True:
            seen = self._check_valves(manifest)
            with transaction.atomic(using=self._state.db):
                self.function.lock()
                self.refresh_from_db(fields=["state"])
                if self.state != self.State.LIVE:
                    return False
                stored = self._stored_valves()
                if (stored and stored.changed_at) == seen:
                    self._become(self.State.LIVE, manifest=manifest, environment=self.environment)
                    return True


def _refuse(names: Collection[str]) -> None:
    immutable = {*FunctionVersion.IMMUTABLE, "function"}
    if changed := [name for name in names if name in immutable]:
        raise ValidationError(
            f"A version never changes: its {' and '.join(changed)} cannot be set. Save the function for a new version.",
            code="immutable",
        )


def _as_data(error: Exception) -> dict[str, Any]:
    """Returns a failure as it is kept on the version."""
    if isinstance(error, LoadError):
        return error.error
    message = str(error)
    if isinstance(error, InvalidValves):
        message = f"Current Valves are incompatible with this code: {message}"
    return {"type": type(error).__name__, "message": message, "line": None, "traceback": None}
