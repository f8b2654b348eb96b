"""Functions: what the admin switches, configures and edits. What they contain is in their versions."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from functions_app import frontmatter, generation, roles
from functions_app.fields import TolerantJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet, check_text
from functions_app.policy import Policy

if TYPE_CHECKING:
    from functions_app.models.user import User
    from functions_app.models.version import FunctionVersion

# Lower-case Python identifiers, letters beyond ASCII included, in a grammar that Python and PostgreSQL read alike:
# of ASCII only a-z, _ and (not first) 0-9.
ID_PATTERN = r"\A[^\u0001-\u005e\u0060\u007b-\u007f][^\u0001-\u002f\u003a-\u005e\u0060\u007b-\u007f]*\Z"
ID_LENGTH = 200
NAME_LENGTH = 255


def clean_id(value: object) -> str:
    """Returns the id in lower case. Raises ``ValidationError`` unless it is a Python identifier of bearable length."""
    text = check_text(value, "The id").strip().lower()
    if not text.isidentifier() or re.match(ID_PATTERN, text) is None:
        raise ValidationError(
            f"The id {text[:50]!r} is not usable: only letters, digits and underscores are allowed, no digit first.",
            code="id",
        )
    if len(text) > ID_LENGTH:
        raise ValidationError(f"The id has {len(text)} characters; at most {ID_LENGTH} are allowed.", code="id")
    return text


def validate_id(value: object) -> None:
    """Raises ``ValidationError`` for what ``clean_id`` doesn't accept."""
    clean_id(value)


def clean_name(value: object) -> str:
    """Returns the name without white space around it. Raises ``ValidationError`` for one that can't be stored."""
    text = check_text(value, "The name").strip()
    if len(text) > NAME_LENGTH:
        raise ValidationError(f"The name has {len(text)} characters; at most {NAME_LENGTH} are allowed.", code="name")
    return text


class VersionConflict(Exception):
    """An edit began from a version that is not the one to begin from any more; ``current`` is, None without any."""

    def __init__(self, current: FunctionVersion | None) -> None:
        super().__init__("The function was changed since it was read.")
        self.current = current


class FunctionQuerySet(WatchedQuerySet["Function"]):
    """Which functions, by what is asked of them."""

    def active(self) -> FunctionQuerySet:
        """Returns the functions that serve: switched on, with a live version."""
        return self.filter(is_active=True, live__isnull=False)

    def of_kind(self, kind: str) -> FunctionQuerySet:
        """Returns the functions of one kind, by their live version or else their last inspection."""
        return self.filter(kind=kind)

    def visible_to(self, user: Any) -> FunctionQuerySet:
        """Returns what a user may know of: active functions and one's own; all for who may view or change functions.

        Who can't log in sees nothing.
        """
        if not user.is_active:
            return self.none()
        if roles.has(user, roles.VIEW, roles.AUTHOR):
            return self
        return self.filter(Q(is_active=True, live__isnull=False) | Q(owner_id=user.pk))

    def create_function(
        self,
        id: str,
        name: str,
        source: str,
        author: User | None = None,
        *,
        meta: dict[str, Any] | None = None,
        publish: bool = True,
        note: str = "",
    ) -> Function:
        """Makes a function with its first version, inactive, and publishes that version unless told not to.

        An empty name is taken from the frontmatter's title, else from the id. A source that doesn't
        load leaves the function with a broken version and nothing live. Raises ``ValidationError`` for
        an id that is taken or unusable and for a source that can't be stored.
        """
        version = self.first_version(id, name, source, author, meta=meta, note=note)
        function = self.keep(version)
        if publish:
            version.publish()
            function.refresh_from_db()
        return function

    def first_version(
        self,
        id: str,
        name: str,
        source: str,
        author: User | None = None,
        *,
        meta: dict[str, Any] | None = None,
        note: str = "",
    ) -> FunctionVersion:
        """Returns the first version of a function that is yet to be made, which may be ``inspected``; stores nothing.

        Raises ``ValidationError`` as ``create_function`` does.
        """
        from functions_app.models.version import FunctionVersion, clean_source

        source = clean_source(source)
        function = self.model(id=clean_id(id), meta=meta or {}, owner=author)
        title = frontmatter.read(source).get("title", "")[:NAME_LENGTH]
        function.name = clean_name(name) or clean_name(title) or function.id
        if self.filter(pk=function.pk).exists():
            raise _taken(function)
        version = FunctionVersion(function=function, number=1, source=source, author=author, note=note)
        version.seal()
        return version

    def keep(self, version: FunctionVersion, manifest: dict[str, Any] | None = None, *, live: bool = False) -> Function:
        """Stores a function with its first version, in one transaction, and returns it.

        With a manifest, as ``inspected`` returns it, the version may be ``live`` at once. Raises ``ValidationError``
        for an id that was taken meanwhile.
        """
        function = version.function
        try:
            with transaction.atomic(using=self.db):
                function.kind = (manifest or {}).get("kind", "")
                function.save(force_insert=True, using=self.db)
                version.manifest = manifest
                version.save(force_insert=True, using=self.db)
                if live and manifest is not None:
                    version.take_over(function, manifest, timezone.now())
        except IntegrityError:
            if not self.filter(pk=function.pk).exists():
                raise
            raise _taken(function) from None
        return function

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        objs = list(objs)
        for function in objs:
            function.id = clean_id(function.id)
        return super().bulk_create(objs, *args, **kwargs)


class Function(WatchedModel):
    """A single-file plugin under a name. ``live`` is the version that serves; None until one was published.

    ``is_active`` is the admin's switch: no failure turns it.
    """

    class Kind(models.TextChoices):
        PIPE = "pipe"
        FILTER = "filter"
        ACTION = "action"
        EVENT = "event"

    generation_half = generation.FUNCTIONS

    id = models.CharField(
        primary_key=True,
        max_length=ID_LENGTH,
        validators=[validate_id],
        help_text="Lower-case letters, digits and underscores.",
    )
    name = models.CharField(max_length=NAME_LENGTH)
    kind = models.CharField(max_length=10, choices=Kind.choices, blank=True, editable=False)
    live = models.OneToOneField(
        "functions_app.FunctionVersion",
        # Deleting a function takes its versions along; deleting only its live version is refused.
        on_delete=models.RESTRICT,
        null=True,
        editable=False,
        related_name="serves",
    )
    is_active = models.BooleanField("active", default=False)
    is_global = models.BooleanField("global", default=False, help_text="Filters and actions: for all models.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="functions"
    )
    policy = TolerantJSONField(default=dict, blank=True, editable=False)
    epoch = models.CharField(max_length=32, blank=True, default="", editable=False)
    meta = TolerantJSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = FunctionQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        default_permissions = ("view", "change")  # who may change also adds and deletes (functions_app/roles.py)
        permissions = [
            ("use_function", "Can call models and trigger actions"),
            ("publish_function", "Can publish versions and switch functions on and off"),
            ("change_policy", "Can change what a function may do"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(id__regex=ID_PATTERN), name="function_id_is_an_identifier"),
            models.CheckConstraint(condition=~Q(name=""), name="function_has_a_name"),
            models.CheckConstraint(
                condition=Q(kind__in=["", "pipe", "filter", "action", "event"]), name="function_kind_is_known"
            ),
            models.CheckConstraint(condition=Q(live__isnull=True) | ~Q(kind=""), name="live_function_has_a_kind"),
        ]

    def __str__(self) -> str:
        return self.name or self.id

    def save(self, **kwargs: Any) -> None:
        """Stores the row. What publishing, ``change_policy`` and ``restart`` decide is written only when
        ``update_fields`` names it, so that an object read before can't undo it."""
        self.name = clean_name(self.name)
        if self._state.adding:
            self.id = clean_id(self.id)
            self.name = self.name or self.id
            if not kwargs.get("force_update"):
                # A taken id is an error, never an overwritten function.
                kwargs["force_insert"] = True
        elif kwargs.get("update_fields") is None:
            kept = {"id", "live", "kind", "policy", "epoch", "created_at"} | self.get_deferred_fields()
            kwargs["update_fields"] = [
                field.name
                for field in self._meta.concrete_fields
                if field.name not in kept and field.attname not in kept
            ]
        super().save(**kwargs)

    @property
    def newest(self) -> FunctionVersion | None:
        """Returns the version with the highest number; None before the first."""
        return self.versions.order_by("-number").first()

    @property
    def current(self) -> FunctionVersion | None:
        """Returns the version that an edit begins from: one that waits to go live, else the live one, else the newest.

        One that is broken does not count while another serves: its author may begin from either.
        """
        waiting = self.versions.filter(state__in=["draft", "building"])
        if self.live is not None:
            waiting = waiting.filter(number__gt=self.live.number)
        return waiting.order_by("-number").first() or self.live or self.newest

    def revision(self, version: FunctionVersion | None) -> str:
        """Returns what every edit changes: the id of a version, and a digest of name and facts after a dot."""
        facts = json.dumps([self.name, self.meta], sort_keys=True).encode()
        return f"{version.pk if version is not None else ''}.{hashlib.sha256(facts).hexdigest()[:12]}"

    def edit(
        self,
        author: User | None = None,
        *,
        source: str | None = None,
        name: str | None = None,
        meta: dict[str, Any] | None = None,
        note: str = "",
        began_from: Collection[str] = (),
        publishing: bool = True,
    ) -> tuple[FunctionVersion | None, dict[str, Any]]:
        """Saves a source as ``save_source`` does, with the function's name and facts; all of them may be left out.

        ``began_from`` are ids of versions or ``revision``s, one of which has to be that of the current version.
        Returns the version, None when there is no source at all, and what is yet to change when it is published
        (``publish(**along)``). Raises ``VersionConflict`` and ``ValidationError``, and then nothing has changed.
        """
        along: dict[str, Any] = {}
        if name and (cleaned := clean_name(name)):
            along["name"] = cleaned
        if meta is not None:
            along["meta"] = meta
        with transaction.atomic(using=self._state.db):
            function = self.lock()
            current = function.current
            if began_from and not function._begins(current, began_from):
                raise VersionConflict(current)
            version = function.save_source(source, author, note) if source is not None else current
            if not publishing or source is None or version is None or version.state == version.State.LIVE:
                function.change(**along)
                along = {}
        return version, along

    def _begins(self, current: FunctionVersion | None, began_from: Collection[str]) -> bool:
        newest = self.newest
        ways = [current] if newest is None or newest.state != newest.State.BROKEN else [current, newest]
        right = {text for way in ways for text in (str(way.pk) if way is not None else "", self.revision(way))}
        return not right.isdisjoint(began_from)

    def change(self, **fields: Any) -> None:
        """Sets and stores these fields; without any, nothing happens."""
        for name, value in fields.items():
            setattr(self, name, value)
        if fields:
            self.save(update_fields=[*fields, "updated_at"])

    def save_source(self, source: str, author: User | None = None, note: str = "") -> FunctionVersion:
        """Makes a draft of ``source`` and returns it; returns the newest version when that has the same source.

        Raises ``ValidationError`` for a source that can't be stored.
        """
        from functions_app.models.version import FunctionVersion, clean_note, clean_source

        source, note = clean_source(source), clean_note(note)
        with transaction.atomic(using=self._state.db):
            self.lock()
            newest = self.newest
            if newest is not None and newest.source == source:
                return newest
            version = FunctionVersion(
                function=self, number=newest.number + 1 if newest else 1, source=source, author=author, note=note
            )
            version.save(force_insert=True, using=self._state.db)
            return version

    def lock(self) -> Function:
        """Returns the row as it is now, held until the transaction ends. Raises ``DoesNotExist`` when it is gone."""
        return Function.objects.using(self._state.db).select_for_update(of=("self",)).get(pk=self.pk)

    def switch(self, field: str, on: bool | None = None) -> Function:
        """Turns ``is_active`` or ``is_global``, to the other side unless told which; returns the row as it is then.

        Raises ``ValidationError`` when there is nothing live to switch on.
        """
        with transaction.atomic(using=self._state.db):
            function = self.lock()
            turned = not getattr(function, field) if on is None else on
            if field == "is_active" and turned and function.live is None:
                message = f"Function '{function.id}' has no live version to switch on; publish one first."
                raise ValidationError(message, code="not_live")
            if turned != getattr(function, field):
                function.change(**{field: turned})
            return function

    def effective_policy(self) -> Policy:
        """Returns what the function may do: its own policy over the installation's defaults, under its ceilings."""
        return Policy.resolve(self.policy, settings.FUNCTIONS_POLICY)

    def change_policy(self, partial: dict[str, Any]) -> None:
        """Changes the named fields of the policy and stores it; None takes a field back to its default.

        Raises ``ValidationError`` naming the field.
        """
        changes = Policy.clean(partial)
        with transaction.atomic(using=self._state.db):
            self.policy = {
                name: value for name, value in {**self.lock().policy, **changes}.items() if value is not None
            }
            self.save(update_fields=["policy", "updated_at"])

    def restart(self) -> None:
        """Begins afresh in every process: new calls get new workers, and what had closed itself to calls is open again.

        Calls under way keep their workers.
        """
        self.epoch = secrets.token_hex(8)
        self.save(update_fields=["epoch"])


def _taken(function: Function) -> ValidationError:
    return ValidationError(f"The id {function.id!r} is already taken; choose another.", code="taken")
