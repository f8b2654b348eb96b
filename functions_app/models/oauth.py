"""OAuth tokens: what an OpenID provider gave for a user who signed in through it. Encrypted at rest."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from functions_app.fields import EncryptedJSONField

if TYPE_CHECKING:
    from functions_app.models.user import User

Json = dict[str, Any]

AHEAD = timedelta(seconds=60)
"""A token is renewed this long before it expires."""
CLAIM = timedelta(seconds=30)
"""How long one process may take to renew a token before another tries."""
LONGEST_LIFE = 10 * 365 * 86_400

KEPT = ("access_token", "refresh_token", "id_token", "token_type", "scope")
TOLD = ("access_token", "id_token", "token_type", "scope")
"""What functions see of it: not the refresh token, with which they could go on for ever, and end it for others."""


class OAuthTokenQuerySet(models.QuerySet["OAuthToken"]):
    """Users' tokens."""

    def keep(self, user: User, provider: str, answer: Json) -> OAuthToken:
        """Keeps what the provider's token endpoint answered when a user signed in, in place of what was there."""
        values, expires_at = _read(answer)
        defaults = {"values": values, "expires_at": expires_at, "renewing_until": None}
        return self.update_or_create(user=user, provider=provider, defaults=defaults)[0]


class OAuthToken(models.Model):
    """The tokens of one user at one provider: ``access_token``, ``refresh_token``, ``id_token`` and the like.

    A token is renewed by one process at a time, the one that has ``claim``ed it: no lock of the database is held while
    the provider is asked, and what a user's new sign-in puts here meanwhile is never written over.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="oauth_tokens")
    provider = models.CharField(max_length=100)
    values = EncryptedJSONField(default=dict)
    expires_at = models.DateTimeField(null=True, blank=True)
    renewing_until = models.DateTimeField(null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OAuthTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "OAuth token"
        constraints = [models.UniqueConstraint(fields=["user", "provider"], name="one_oauth_token_per_provider")]

    def __str__(self) -> str:
        return f"token of user {self.user_id} at {self.provider}"

    @property
    def usable(self) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or self.expires_at > timezone.now()

    @property
    def due(self) -> bool:
        """Whether it expires soon, or has."""
        return self.expires_at is not None and self.expires_at - AHEAD <= timezone.now()

    @property
    def refresh_token(self) -> str:
        """With which it is renewed; empty when it can't be."""
        return str(self.values.get("refresh_token") or "")

    def to_argument(self) -> Json:
        """Returns what functions get as ``__oauth_token__``; ``expires_at`` in epoch seconds, None when unknown."""
        told = {name: self.values.get(name) for name in TOLD}
        return {**told, "expires_at": int(self.expires_at.timestamp()) if self.expires_at else None}

    def claim(self) -> bool:
        """Whether this process is the one to renew it now."""
        now = timezone.now()
        free = models.Q(renewing_until=None) | models.Q(renewing_until__lt=now)
        until = now + CLAIM
        mine = OAuthToken.objects.filter(free, pk=self.pk, expires_at=self.expires_at).update(renewing_until=until)
        if mine:
            self.renewing_until = until
        return bool(mine)

    def renew(self, answer: Json) -> bool:
        """Keeps what the provider answered; False when the user signed in anew meanwhile, whose token stays."""
        values, expires_at = _read(answer)
        # Providers that keep the refresh token, or the id token, do not send it again.
        return self._release(values={**self.values, **values}, expires_at=expires_at)

    def give_up(self) -> bool:
        """Forgets the refresh token that the provider refused; False when the user signed in anew meanwhile."""
        return self._release(values={**self.values, "refresh_token": ""})

    def release(self) -> bool:
        """Lets another try: the provider did not answer."""
        return self._release()

    def _release(self, **changes: Any) -> bool:
        mine = OAuthToken.objects.filter(pk=self.pk, renewing_until=self.renewing_until)
        done = mine.update(renewing_until=None, updated_at=timezone.now(), **changes)
        for name, value in changes.items() if done else ():
            setattr(self, name, value)
        return bool(done)


def _read(answer: Json) -> tuple[Json, datetime | None]:
    """Returns what is kept of a token endpoint's answer, and when the token expires."""
    values = {name: str(answer[name]) for name in KEPT if answer.get(name)}
    try:
        seconds = float(answer.get("expires_in") or 0)
    except (TypeError, ValueError):
        seconds = 0.0
    known = math.isfinite(seconds) and seconds > 0
    return values, timezone.now() + timedelta(seconds=min(seconds, LONGEST_LIFE)) if known else None


def drop_tokens(instance: Any, **_: Any) -> None:
    """Forgets the token of a user who is no longer joined to the provider that gave it."""
    OAuthToken.objects.filter(user_id=instance.user_id, provider=instance.provider).delete()
