"""Pictures and other files between data URLs and stored files of the caller's."""

from __future__ import annotations

import base64
import io
import mimetypes
import re
from typing import Any

from ..routers.files import upload_file_handler
from ..routers.images import get_image_data, upload_image

_MARKDOWN = re.compile(r"!\[([^\]]*)\]\((data:image/[^)\s]+)\)")


async def get_image_url_from_base64(request: Any, base64_image_string: str, metadata: Any, user: Any) -> str | None:
    """Stores a data URL of a picture; returns its address, None for anything else."""
    if not base64_image_string.startswith("data:image/"):
        return None
    content, kind = await get_image_data(base64_image_string)
    if content is None or kind is None:
        return None
    _, picture = await upload_image(request, content, kind, metadata, user)
    return str(picture)


async def get_audio_url_from_base64(request: Any, base64_audio_string: str, metadata: Any, user: Any) -> str | None:
    """Stores a data URL of sound; returns its address, None for anything else."""
    if not base64_audio_string.startswith("data:audio/"):
        return None
    from starlette.datastructures import Headers, UploadFile

    head, _, body = base64_audio_string.partition(",")
    kind = head.removeprefix("data:").partition(";")[0]
    name = f"generated-audio{mimetypes.guess_extension(kind) or '.wav'}"
    file = UploadFile(io.BytesIO(base64.b64decode(body)), filename=name, headers=Headers({"content-type": kind}))
    stored = await upload_file_handler(request, file, metadata, process=False, user=user)
    return f"/api/v1/files/{stored.id}/content"


async def get_file_url_from_base64(request: Any, base64_file_string: str, metadata: Any, user: Any) -> str | None:
    """Stores a data URL of a picture or of sound; returns its address, None for anything else."""
    if base64_file_string.startswith("data:image/"):
        return await get_image_url_from_base64(request, base64_file_string, metadata, user)
    return await get_audio_url_from_base64(request, base64_file_string, metadata, user)


async def get_image_base64_from_url(url: str, user: Any = None) -> str | None:
    """Returns a picture as a data URL: from an address, or of a file of the caller's; None where it can't be had."""
    content, kind = await get_image_data(url if "/" in url else f"/api/v1/files/{url}")
    return None if content is None else f"data:{kind};base64,{base64.b64encode(content).decode()}"


async def get_image_base64_from_file_id(id: str, user: Any = None) -> str | None:
    """Returns a file of the caller's as a data URL; None where it can't be had."""
    return await get_image_base64_from_url(f"/api/v1/files/{id}", user)


async def convert_markdown_base64_images(request: Any, content: str, metadata: Any, user: Any) -> str:
    """Returns Markdown with pictures in data URLs stored, and their addresses in the place of these."""
    made, end = "", 0
    for found in _MARKDOWN.finditer(content):
        url = await get_image_url_from_base64(request, found.group(2), metadata, user)
        made += content[end : found.start()] + f"![{found.group(1)}]({url or found.group(2)})"
        end = found.end()
    return made + content[end:]
