"""Keys: who may call from outside."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Length
from django.utils import timezone

from functions_app import generation
from functions_app.models.base import WatchedModel, WatchedQuerySet
from functions_app.system_events import Told
from functions_app.telling import Row, story_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from functions_app.models import User

models.CharField.register_lookup(Length)


class Scope(models.TextChoices):
    """What a key may be used for; a key without scopes may do all its owner may do."""

    MODELS = "models", "list models and chat"
    ACTIONS = "actions", "trigger actions"
    FILES = "files", "upload and read own files"
    FUNCTIONS = "functions", "manage functions, as far as the owner may"


class ApiKeyQuerySet(WatchedQuerySet["ApiKey"]):
    """Issuing and finding keys."""

    def issue(
        self,
        user: User,
        label: str = "",
        scopes: Iterable[str] | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Makes a key and returns it with its secret text, which is kept nowhere and can't be shown again.

        ``scopes`` None or empty means all that the owner may do; an unknown scope is a ``ValidationError``.
        """
        text = f"sk-{secrets.token_urlsafe(32)}"
        key = self.model(
            user=user,
            label=label,
            prefix=text[: ApiKey.PREFIX_LENGTH],
            digest=ApiKey.digest_of(text),
            scopes=sorted(set(scopes or ())),
            expires_at=expires_at,
        )
        key.full_clean()
        key.save(force_insert=True)
        return key, text


class ApiKey(WatchedModel):
    """A bearer key of a user: only its digest is stored, and a prefix to tell keys apart.

    The text has 256 random bits, so a plain digest is as hard to reverse as a slow one.
    """

    PREFIX_LENGTH: ClassVar[int] = 10
    generation_half = generation.PEOPLE
    generation_ignores = frozenset({"last_used_at"})

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    label = models.CharField(max_length=100, blank=True, help_text="What the key is for.")
    prefix = models.CharField(max_length=PREFIX_LENGTH, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list, blank=True, help_text="Empty: all that the owner may do.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(condition=models.Q(digest__length=64), name="api_key_digest_is_sha256"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.label or 'no label'})"

    def clean(self) -> None:
        scopes = self.scopes
        if not isinstance(scopes, list) or any(scope not in Scope.values for scope in scopes):
            raise ValidationError({"scopes": f"Scopes are a list of {', '.join(Scope.values)}; got {scopes!r}."})

    @staticmethod
    def digest_of(text: str) -> str:
        """Returns what is stored of a key's text."""
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

    @property
    def usable(self) -> bool:
        """Whether the key still opens anything."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    def revoke(self) -> None:
        """Ends the key at once, for every process."""
        self.revoked_at = timezone.now()
        self.save(update_fields=["revoked_at"])


@story_of(ApiKey, "user_id", "revoked_at")
def of_key(before: Row | None, after: Row | None) -> Iterator[Told]:
    """A key that is revoked is gone, for who is told of it."""
    was, now = bool(before and not before["revoked_at"]), bool(after and not after["revoked_at"])
    if was != now:
        owner = str((after or before or {})["user_id"])
        yield Told("auth.api_key.created" if now else "auth.api_key.deleted", owner)
