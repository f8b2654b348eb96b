"""Files of the caller's, made by functions."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import uuid
from typing import Any

from pipeline_app.worker.hosts import HostError

from ..models.files import FileForm, FileModel, Files
from ..storage.provider import Storage

__all__ = ["FileForm", "FileModel", "get_file_content_by_id", "upload_file", "upload_file_handler"]

TEXT = ("text/", "application/json", "application/xml", "application/x-yaml", "application/javascript")
"""Types of content that are text as they are."""


async def upload_file_handler(
    request: Any = None,
    file: Any = None,
    metadata: Any = None,
    process: bool = True,
    process_in_background: bool = True,
    user: Any = None,
    background_tasks: Any = None,
    db: Any = None,
) -> Any:
    """Stores an upload as a file of the caller's; returns it, as a dict with ``status`` where it is processed too.

    ``process`` keeps the text of what is text beside it. Raises ``HTTPException``.
    """
    from fastapi import HTTPException

    name = os.path.basename(str(getattr(file, "filename", None) or "file"))
    content_type = getattr(file, "content_type", None) or "application/octet-stream"
    try:
        told = json.loads(metadata) if isinstance(metadata, str) else dict(metadata or {})
        content = await asyncio.to_thread(file.file.read)
        stored = await asyncio.to_thread(_stored, name, content_type, content, told, _id_of(user))
        if not process:
            return stored
        text = await asyncio.to_thread(_processed, stored, content_type, content)
        return {
            "status": True,
            **stored.model_dump(),
            **({"data": {**(stored.data or {}), "content": text}} if text else {}),
        }
    except (HostError, ValueError, OSError, AttributeError) as error:
        raise HTTPException(400, f"Error uploading file: {error}") from None


async def upload_file(
    request: Any = None,
    background_tasks: Any = None,
    file: Any = None,
    metadata: Any = None,
    process: bool = True,
    process_in_background: bool = True,
    user: Any = None,
    db: Any = None,
    **_: Any,
) -> Any:
    """Stores an upload, see ``upload_file_handler``. Takes ``(request, file, user)`` of older releases, too."""
    if hasattr(background_tasks, "file"):
        background_tasks, file, user = None, background_tasks, user or file
    return await upload_file_handler(request, file, metadata, process, user=user)


def _id_of(user: Any) -> str:
    return str(user.get("id") if isinstance(user, dict) else getattr(user, "id", user))


def _stored(name: str, content_type: str, content: bytes, told: dict[str, Any], user_id: str) -> FileModel:
    digest = hashlib.sha256(content).hexdigest()
    meta = {"name": name, "content_type": content_type, "size": len(content), "file_hash": digest, "data": told}
    with tempfile.NamedTemporaryFile() as here:
        here.write(content)
        here.flush()
        form = FileForm(id=str(uuid.uuid4()), filename=name, path=here.name, meta=meta)
        stored: FileModel | None = Files.insert_new_file(user_id, form)
    if stored is None:
        raise ValueError("the server did not keep it.")
    return stored


def _processed(file: FileModel, content_type: str, content: bytes) -> str:
    if not content_type.startswith(TEXT):
        return ""
    text = content.decode("utf-8", "replace")
    Files.update_file_data_by_id(file.id, {"content": text, "status": "completed"})
    return text


async def get_file_content_by_id(id: str, user: Any = None, attachment: bool = False, db: Any = None) -> Any:
    """Returns a response with a file's content. Raises ``HTTPException`` 404 where the caller has no such file."""
    from fastapi import HTTPException
    from starlette.responses import FileResponse

    file = await Files.get_file_by_id(id)
    if file is None:
        raise HTTPException(404, "This is not there.")
    path = await asyncio.to_thread(Storage.get_file, file.path)
    kind = (file.meta or {}).get("content_type")
    return FileResponse(path, media_type=kind, filename=file.filename if attachment else None)
