"""People: Django's users with the keys and the roles that functions and clients know."""

from __future__ import annotations

import copy
import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.db import models
from django.db.models import TextChoices

from functions_app import generation
from functions_app.fields import TolerantJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet


class UserQuerySet(WatchedQuerySet["User"]):
    """Users, told to every process when they change."""


class UserManager(DjangoUserManager["User"]):
    """Django's manager (``create_user``, ``create_superuser``) over our queryset."""

    use_in_migrations = False

    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)


class User(WatchedModel, AbstractUser):
    """A person. The role is derived from Django's flags and stored nowhere else."""

    class Role(TextChoices):
        ADMIN = "admin"
        USER = "user"
        PENDING = "pending"

    generation_half = generation.PEOPLE
    generation_ignores = frozenset({"last_login"})

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    profile_image_url = models.TextField(blank=True, help_text="An address, or a data: URL with the picture itself.")
    timezone = models.CharField(max_length=100, blank=True, help_text="Such as Europe/Paris.")
    settings = TolerantJSONField(default=dict, blank=True, help_text="Preferences that functions see.")
    info = TolerantJSONField(default=dict, blank=True, help_text="Further facts that functions see.")
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[UserManager] = UserManager()

    class Meta(AbstractUser.Meta):
        ordering = ["username"]

    @property
    def role(self) -> str:
        """Returns ``pending`` for who may not log in, ``admin`` for superusers, else ``user``."""
        if not self.is_active:
            return self.Role.PENDING.value
        return self.Role.ADMIN.value if self.is_superuser else self.Role.USER.value

    @property
    def name(self) -> str:
        """Returns the full name, the user name when there is none."""
        return self.get_full_name() or self.username

    def to_wire(self) -> dict[str, Any]:
        """Returns what functions see as ``__user__``: plain JSON, a fresh dict, what is not known is None."""
        joined = int(self.date_joined.timestamp())
        return {
            "id": str(self.pk),
            "email": self.email,
            "username": self.username,
            "role": self.role,
            "name": self.name,
            "profile_image_url": self.profile_image_url or None,
            "profile_banner_image_url": None,
            "bio": None,
            "gender": None,
            "date_of_birth": None,
            "timezone": self.timezone or None,
            "presence_state": None,
            "status_emoji": None,
            "status_message": None,
            "status_expires_at": None,
            "info": copy.deepcopy(self.info) or None,
            "settings": copy.deepcopy(self.settings) or None,
            "oauth": None,
            "scim": None,
            "last_active_at": int(self.last_login.timestamp()) if self.last_login else joined,
            "updated_at": int(self.updated_at.timestamp()),
            "created_at": joined,
        }
