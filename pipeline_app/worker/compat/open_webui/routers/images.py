"""Pictures that functions make or have at hand. There is no engine that makes them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import logging
import mimetypes
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from ..models.files import Files
from ..storage.provider import Storage
from ..utils.chat_id import is_saved_chat_id
from .files import upload_file_handler

log = logging.getLogger(__name__)

PATIENCE = 60.0
LARGEST = 64 * 1024 * 1024


class Picture(str):
    """The address of a stored picture, as older releases gave it, with the keys of today's."""

    told: dict[str, Any]

    def __new__(cls, url: str, **told: Any) -> Picture:
        made = super().__new__(cls, url)
        made.told = {**told, "url": url}
        return made

    def __getitem__(self, key: Any) -> Any:
        return self.told[key] if isinstance(key, str) else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns ``id``, ``url``, ``name`` or ``content_type``."""
        return self.told.get(key, default)


async def upload_image(
    request: Any, image_data: Any, content_type: str, metadata: Any = None, user: Any = None, db: Any = None
) -> tuple[Any, Picture]:
    """Stores a picture as a file of the caller's; returns it and its address."""
    from starlette.datastructures import Headers, UploadFile

    ending = mimetypes.guess_extension(content_type) or ".png"
    file = UploadFile(
        io.BytesIO(image_data), filename=f"generated-image{ending}", headers=Headers({"content-type": content_type})
    )
    told = metadata or {}
    stored = await upload_file_handler(request, file, told, process=False, user=user)
    chat_id, message_id = told.get("chat_id"), told.get("message_id")
    if message_id and is_saved_chat_id(chat_id):
        await _link(stored, str(chat_id), str(message_id), user)
    url = f"/api/v1/files/{stored.id}/content"
    return stored, Picture(url, id=stored.id, name=stored.filename, content_type=content_type)


async def _link(file: Any, chat_id: str, message_id: str, user: Any) -> None:
    """Notes that a file belongs to a message, where chats are kept."""
    from ..models.chats import Chats

    user_id = user.get("id") if isinstance(user, dict) else getattr(user, "id", "")
    await asyncio.to_thread(Chats.insert_chat_files, chat_id, message_id, [file.id], user_id)


async def get_image_data(
    data: str, headers: Any = None, trusted_base_url: str | None = None
) -> tuple[bytes | None, str | None]:
    """Returns a picture and its type: of a data URL, of base64, or from an address; ``(None, None)`` where it fails."""
    try:
        if data.startswith(("http://", "https://")):
            return await asyncio.to_thread(_fetched, data, dict(headers or {}))
        if data.startswith("/api/v1/files/"):
            return await asyncio.to_thread(_of_file, data.split("/")[4])
        head, comma, body = data.partition(",")
        kind = head.removeprefix("data:").partition(";")[0] if comma else "image/png"
        return base64.b64decode(body if comma else data, validate=True), kind or "image/png"
    except (OSError, ValueError, binascii.Error, IndexError) as error:
        log.warning("The picture can't be had: %s", error)
        return None, None


def _fetched(url: str, headers: dict[str, str]) -> tuple[bytes, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
        kind = answer.headers.get_content_type()
        content = answer.read(LARGEST + 1)
    if len(content) > LARGEST or kind.partition("/")[0] != "image":
        raise ValueError(f"{urlsplit(url).hostname} gave no picture of at most {LARGEST // 1024**2} MB.")
    return content, kind


def _of_file(id: str) -> tuple[bytes, str]:
    file = Files.get_file_by_id(id)
    if file is None:
        raise FileNotFoundError(f"The caller has no file {id!r}.")
    with open(Storage.get_file(file.path), "rb") as content:
        return content.read(), (file.meta or {}).get("content_type") or "image/png"
