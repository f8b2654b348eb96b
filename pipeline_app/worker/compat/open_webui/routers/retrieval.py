"""Text of files, for functions that want it in the file itself. Nothing is indexed."""

from __future__ import annotations

import asyncio
from typing import Any

from ..models.files import Files
from ..storage.provider import Storage
from .files import TEXT


async def process_file(request: Any, form_data: Any, user: Any = None, db: Any = None) -> dict[str, Any]:
    """Keeps a file's text beside it, or the text that is given for it. Raises ``HTTPException`` where it has none."""
    from fastapi import HTTPException

    file = await Files.get_file_by_id(form_data.file_id)
    if file is None:
        raise HTTPException(404, "This is not there.")
    text = getattr(form_data, "content", None) or (file.data or {}).get("content")
    if not text:
        kind = (file.meta or {}).get("content_type") or ""
        if not kind.startswith(TEXT):
            raise HTTPException(
                400, f"The text of '{file.filename}' can't be read: it is {kind or 'of no known type'}."
            )
        text = await asyncio.to_thread(_read, file.path)
    await Files.update_file_data_by_id(file.id, {"content": text, "status": "completed"})
    name = getattr(form_data, "collection_name", None) or f"file-{file.id}"
    return {"status": True, "collection_name": name, "filename": file.filename, "content": text}


def _read(path: str) -> str:
    with open(Storage.get_file(path), "rb") as content:
        return content.read().decode("utf-8", "replace")
