"""Uploads."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from functions_app.fields import TolerantJSONField


def content_path(file: File, filename: str) -> str:
    """Returns where the content is stored: under the row's id, so that no client chooses a path."""
    return f"uploads/{file.pk}"


class FileQuerySet(models.QuerySet["File"]):
    """Uploads and who may read them."""

    def visible_to(self, user: Any) -> FileQuerySet:
        """Returns a user's own files; all of them for those who may view files."""
        return self if user.has_perm("functions_app.view_file") else self.filter(user_id=user.pk)


class File(models.Model):
    """An upload. Deleting the row also deletes the content, after commit."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    content = models.FileField(upload_to=content_path, max_length=255)
    content_type = models.CharField(max_length=255, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)
    meta = TolerantJSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


def drop_content(instance: File, using: str, **_: Any) -> None:
    """Deletes the stored content once the row is really gone."""
    if instance.content.name:
        transaction.on_commit(partial(instance.content.storage.delete, instance.content.name), using=using, robust=True)
