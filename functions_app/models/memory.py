"""What functions remember of people."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from functions_app.fields import TolerantJSONField, storable

MOST = 1000
"""How many memories one person has."""
LONGEST = 20_000


class MemoryQuerySet(models.QuerySet["Memory"]):
    """Memories and whose they are."""

    def of(self, user_id: Any) -> MemoryQuerySet:
        """Returns a person's memories, the oldest first."""
        return self.filter(user_id=user_id).order_by("created_at", "pk")

    def remember(self, user_id: Any, content: str, **facts: Any) -> Memory:
        """Makes a memory of a person's. Raises ``ValidationError`` when they have as many as anybody may."""
        with transaction.atomic(using=self.db):
            # One of a person's at a time, so that together they can't pass what one person has.
            get_user_model()._base_manager.using(self.db).select_for_update().get(pk=user_id)
            if self.of(user_id).count() >= MOST:
                raise ValidationError(f"There are {MOST} memories of this person already; delete some first.")
            return self.create(user_id=user_id, content=content, **facts)


class Memory(models.Model):
    """Something that a function keeps in mind about one person, for whatever function runs for them later."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memories")
    kind = models.CharField(max_length=20, default="context")
    path = models.CharField(max_length=255, blank=True)
    content = models.TextField()
    meta = TolerantJSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = MemoryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "memories"
        ordering = ["created_at"]
        default_permissions = ("view", "delete")

    def __str__(self) -> str:
        return self.content[:80]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.content, self.path = storable(self.content), storable(self.path)
        super().save(*args, **kwargs)

    def to_wire(self) -> dict[str, Any]:
        """Returns what functions see: Open WebUI's ``MemoryModel``, times in epoch seconds."""
        return {
            "id": str(self.pk),
            "user_id": str(self.user_id),
            "type": self.kind,
            "path": self.path or None,
            "content": self.content,
            "meta": self.meta,
            "updated_at": int(self.updated_at.timestamp()),
            "created_at": int(self.created_at.timestamp()),
        }
