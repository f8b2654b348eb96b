"""OAuth tokens: what an OpenID provider gave for a user who signed in through it. Encrypted at rest."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from functions_app import generation
from functions_app.fields import EncryptedJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet


class OAuthTokenQuerySet(WatchedQuerySet["OAuthToken"]):
    """Users' tokens."""


class OAuthToken(WatchedModel):
    """The tokens of one user at one provider: ``access_token``, ``refresh_token``, ``id_token`` and the like."""

    generation_half = generation.PEOPLE

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="oauth_tokens")
    provider = models.CharField(max_length=100)
    values = EncryptedJSONField(default=dict)
    expires_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OAuthTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "OAuth token"
        constraints = [models.UniqueConstraint(fields=["user", "provider"], name="one_oauth_token_per_provider")]

    def __str__(self) -> str:
        return f"token of user {self.user_id} at {self.provider}"
