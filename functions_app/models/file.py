"""Uploads."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File as Content
from django.db import models, transaction
from django.db.models.functions import Greatest
from django.utils import timezone

from functions_app.fields import TolerantJSONField
from functions_app.models.base import ToldModel
from functions_app.uploads import HEAD, clean_name, is_allowed, kind_of

if TYPE_CHECKING:
    from functions_app.models.user import User

MB = 1024 * 1024
LEAST_COUNTED = 4096
"""What a file counts at least towards its owner's share: rows and empty files take room, too."""
GIVEN_UP = timedelta(hours=1)
"""After this time an upload that was never finished, because its process died, is cleared away."""
TEXT_MOST = 256 * 1024
"""Bytes up to which a text file is handed to functions with its text."""
PIECE = 256 * 1024


class UploadRefused(ValidationError):
    """An upload that the settings don't allow; ``code`` is ``file_too_large``, ``file_type`` or ``quota_exceeded``."""


def content_path(file: File, filename: str) -> str:
    """Returns where the content is stored: under the row's id, so that no client chooses a path."""
    return f"uploads/{file.pk}"


class FileQuerySet(models.QuerySet["File"]):
    """Uploads and who may read them."""

    def stored(self) -> FileQuerySet:
        """Returns those whose content has arrived."""
        return self.exclude(content="")

    def visible_to(self, user: Any) -> FileQuerySet:
        """Returns a user's own files; all of them for those who may view files."""
        found = self.stored()
        return found if user.has_perm("functions_app.view_file") else found.filter(user_id=user.pk)

    def store(self, user: User, name: str, content: IO[bytes], size: int, **facts: Any) -> File:
        """Stores an upload and returns its row; ``content`` is at its beginning. Raises ``UploadRefused``.

        ``facts`` are further fields of the row, such as an id that is not taken yet.

        The row is there before the content, without the name of one: what a crash leaves is a row that is not
        ``stored``, from which the content is found and cleared away with the owner's next upload.
        """
        self._clear_given_up(user)
        file = self._reserve(user, name, content, size, facts)
        try:
            file._take(content)
        except BaseException:
            file._give_up()
            raise
        return file

    def _clear_given_up(self, user: User) -> None:
        for file in self.filter(user=user, content="", created_at__lt=timezone.now() - GIVEN_UP):
            file._give_up()

    def _reserve(self, user: User, name: str, content: IO[bytes], size: int, facts: dict[str, Any]) -> File:
        """Makes the row of an upload, one of a user's at a time, so that together they can't pass the user's share."""
        name = clean_name(name)
        head = content.read(HEAD)
        content.seek(0)
        file = self.model(user=user, name=name, size=size, content_type=kind_of(name, head), **facts)
        file.check_allowed()
        with transaction.atomic(using=self.db):
            user._meta.model._base_manager.select_for_update().get(pk=user.pk)
            most = settings.FUNCTIONS_FILES_PER_USER_MB
            used = self.filter(user=user).aggregate(sum=models.Sum(Greatest("size", LEAST_COUNTED)))["sum"] or 0
            if most and used + max(size, LEAST_COUNTED) > most * MB:
                raise UploadRefused(
                    f"Your files would take more than the {most:g} MB that each user has here "
                    f"({used / MB:.1f} MB are taken). Delete files that you no longer need.",
                    code="quota_exceeded",
                )
            file.save(force_insert=True)
        return file


class File(ToldModel):
    """An upload. Deleting the row also deletes the content, after commit."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    content = models.FileField(upload_to=content_path, max_length=255)
    content_type = models.CharField(max_length=255, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)
    meta = TolerantJSONField(default=dict, blank=True)
    data = TolerantJSONField(default=dict, blank=True, help_text="What functions keep with it.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    def check_allowed(self) -> None:
        """Raises ``UploadRefused`` when the settings don't take a file of this size or type."""
        most, kinds = settings.FUNCTIONS_FILE_MB, settings.FUNCTIONS_FILE_TYPES
        if self.size > most * MB:
            raise UploadRefused(
                f"The file has {self.size} bytes; this server takes files of up to {most:g} MB (FUNCTIONS_FILE_MB).",
                code="file_too_large",
            )
        if not is_allowed(self.name, self.content_type, kinds):
            raise UploadRefused(
                f"'{self.name}' is {self.content_type}, by its content and name; "
                f"this server takes {', '.join(kinds)} (FUNCTIONS_FILE_TYPES).",
                code="file_type",
            )

    def to_wire(self, text: str | None = None) -> dict[str, Any]:
        """Returns what clients and functions see: Open WebUI's ``FileModel``, times in epoch seconds.

        ``text`` is given where somebody has read it, and stands where Open WebUI has what it extracted.
        """
        return {
            "id": str(self.pk),
            "user_id": str(self.user_id),
            "hash": self.sha256 or None,
            "filename": self.name,
            "path": f"uploads/{self.pk}",
            "data": {"status": "completed", **({} if text is None else {"content": text}), **self.data},
            "meta": {**self.meta, "name": self.name, "content_type": self.content_type or None, "size": self.size},
            "created_at": int(self.created_at.timestamp()),
            "updated_at": int(self.updated_at.timestamp()),
        }

    def text(self) -> str | None:
        """Returns the text of a text file of at most ``TEXT_MOST`` bytes; None for others, and when it is not there."""
        readable = self.content_type.startswith("text/") or self.content_type.endswith(("json", "yaml", "xml", "toml"))
        if not readable or self.size > TEXT_MOST:
            return None
        try:
            with self.open() as content:
                return content.read(TEXT_MOST + 1).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return None

    def open(self) -> IO[bytes]:
        """Opens the content for reading. Raises ``OSError`` when the storage does not have it."""
        opened: Callable[..., Any] = self.content.storage.open
        return opened(str(self.content.name), "rb")  # type: ignore[no-any-return]

    def _take(self, content: IO[bytes]) -> None:
        """Copies the content into the storage, then says in the row that it is there."""
        digest = hashlib.sha256()
        while piece := content.read(PIECE):
            digest.update(piece)
        content.seek(0)
        self.sha256 = digest.hexdigest()
        self.content.save(self.name, Content(content, name=self.name), save=False)
        self.save(update_fields=["sha256", "content", "updated_at"])

    def _give_up(self) -> None:
        """Takes back an upload that was not finished: the content first, so that it is never without a row."""
        self.content.storage.delete(content_path(self, ""))
        File.objects.filter(pk=self.pk, content="").delete()


def drop_content(instance: File, using: str, **_: Any) -> None:
    """Deletes the stored content once the row is really gone; also that of an upload that was never finished."""
    name = instance.content.name or content_path(instance, "")
    transaction.on_commit(partial(instance.content.storage.delete, name), using=using, robust=True)
