"""The contents of the caller's own files, as paths that can be opened.

``Storage.get_file(file.path)`` fetches the content into the function's own folder; whether the caller has the file is
asked of the server each time, also for a content that was fetched before.
"""

from __future__ import annotations

import base64
import functools
import os
import tempfile
import time
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from .._asking import Asking, Table, answers, asks
from .._folders import UPLOAD_DIR

PIECE = 1024 * 1024
ROOM = 64 * 1024 * 1024
"""Bytes of fetched contents that are kept; beyond it the oldest go."""
FRESH = 60.0
"""Seconds in which a content is not removed: somebody may be about to open it."""


class StorageProvider(Table):
    """What functions ask about contents."""

    elsewhere = MappingProxyType({"delete_all_files": "Delete files one by one, with Files.delete_file_by_id()."})

    @answers
    def upload_file(self, file: Any, filename: str, tags: Any = None) -> tuple[bytes, str]:
        """Keeps a content in the function's own folder; returns it, and its path for ``Files.insert_new_file``."""
        content = file.read()
        if not content:
            raise ValueError("The content of the file is empty.")
        path = UPLOAD_DIR / os.path.basename(filename)
        path.write_bytes(content)
        return content, str(path)

    @answers
    def delete_file(self, file_path: str) -> None:
        """Removes a content from the function's own folder. That of a stored file goes with the file."""
        if _is_own(str(file_path)):
            os.unlink(file_path)

    @asks
    def get_file(self, file_path: str) -> Asking:
        """Returns the path of a copy of a file's content. Raises ``FileNotFoundError`` when it is not the caller's."""
        if _is_own(str(file_path)):
            return str(file_path)
        id = str(file_path).rpartition("/")[2]
        data = yield "files.get", {"id": id}
        if data is None:
            raise FileNotFoundError(f"The caller has no file {str(file_path)!r}.")
        size = data["meta"]["size"]
        folder = _folder()
        path = os.path.join(folder, data["id"])
        if _size(path) == size:
            os.utime(path)
            return path
        _make_room(folder, size)
        descriptor, part = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as content:
                while piece := (yield "files.read", {"id": id, "offset": content.tell(), "length": PIECE}):
                    content.write(base64.b64decode(piece))
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
        return path


def _is_own(path: str) -> bool:
    """Whether a path is that of a content that the function keeps itself."""
    return os.path.dirname(path) == str(UPLOAD_DIR) and os.path.isfile(path)


@functools.cache
def _folder() -> str:
    return tempfile.mkdtemp(prefix="uploads-")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _make_room(folder: str, size: int) -> None:
    """Removes the oldest contents until there is room for another. Several threads may be at it."""
    with suppress(FileNotFoundError):
        found = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(folder))
        taken = sum(entry[1] for entry in found) + size
        for when, freed, path in found:
            if taken <= ROOM or when > time.time() - FRESH:
                break
            os.unlink(path)
            taken -= freed


Storage = StorageProvider()


def get_storage_provider(storage_provider: str = "") -> StorageProvider:
    """Returns the storage: there is one."""
    return Storage


LocalStorageProvider = StorageProvider
