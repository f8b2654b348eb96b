"""Files over HTTP: people upload, list, fetch and delete their own; who may view files sees everybody's."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections import Counter
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from functions_app.models import File, User
from functions_app.models.file import MB, PIECE, FileQuerySet, UploadRefused
from functions_app.roles import USE
from functions_app.uploads import disposition
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.incoming import Incoming, TooLarge
from pipeline_app.api.multipart import file_in, spool
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import files as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.snapshot import Person

logger = logging.getLogger(__name__)

Json = dict[str, Any]

VIEW_ALL = "functions_app.view_file"
DELETE_ALL = "functions_app.delete_file"

PAGE = 50
MOST_PAGES = 10**9
AT_ONCE = 4
"""How many uploads one person may have under way in one server process: each takes room on the disk meanwhile."""
ENVELOPE = 64 * 1024
"""Bytes that a form may have around its file."""
STATUSES = {"file_too_large": 413, "file_type": 415, "quota_exceeded": 413}
SHOWN_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
"""Under which a browser that opens an upload shows it: no script, no form, no origin of ours."""

_uploading: Counter[str] = Counter()


class FileNotFound(RequestError):
    """No such file, or none that the caller may see: told apart by nobody outside."""

    status = 404

    def __init__(self, file_id: str) -> None:
        super().__init__(f"There is no file '{file_id[:100]}' that you may see.", param="id", code="file_not_found")


def visible(person: Person) -> FileQuerySet:
    """Returns the files that a person may see (``FileQuerySet.visible_to``, told from memory)."""
    stored = File.objects.stored()
    return stored if person.can(VIEW_ALL) else stored.filter(user_id=person.id)


def file_or_404(person: Person, file_id: str) -> File:
    """Returns a file that a person may see. Raises ``FileNotFound``."""
    try:
        found = visible(person).filter(pk=uuid.UUID(file_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise FileNotFound(file_id)
    return found


def _boolean(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise RequestError(f"'{name}' must be true or false.", param=name, code="invalid_value")
    return text in ("true", "1")


class FilesView(AsyncAPIView):
    """``GET`` and ``POST /api/v1/files/``."""

    scope = "files"
    permissions = {"GET": (USE,), "POST": (USE,)}
    reads_body = True

    @describe(
        "Lists files, the newest first, fifty a page",
        answer=shapes.FILES,
        query={
            "page": {"type": "integer", "minimum": 1, "maximum": MOST_PAGES},
            "content": {"type": "boolean", "description": "For Open WebUI's clients; contents are never in the list."},
        },
        errors=(400,),
        tags=("files",),
    )
    async def get(self, request: Request) -> HttpResponse:
        _boolean(request, "content")
        text = request.query_params.get("page", "1")
        if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= MOST_PAGES:
            raise RequestError("'page' must be a whole number from 1.", param="page", code="invalid_value")
        return json_response(await in_database(self._page, self.person, int(text)))

    @staticmethod
    def _page(person: Person, page: int) -> Json:
        rows = visible(person)
        return {"items": [row.to_wire() for row in rows[(page - 1) * PAGE : page * PAGE]], "total": rows.count()}

    @describe(
        "Uploads a file",
        answer=shapes.STORED_FILE,
        body=shapes.FORM,
        body_type="multipart/form-data",
        query={
            name: {"type": "boolean", "description": "For Open WebUI's clients; nothing is extracted here."}
            for name in ("process", "process_in_background")
        },
        errors=(400, 413, 415, 507),
        tags=("files",),
    )
    async def post(self, request: Request) -> HttpResponse:
        for name in ("process", "process_in_background"):
            _boolean(request, name)
        person = self.person
        if _uploading[person.id] >= AT_ONCE:
            raise RequestError(
                f"You have {AT_ONCE} uploads under way; wait until one has ended.",
                code="too_many_uploads",
                status=429,
                headers={"Retry-After": "1"},
            )
        _uploading[person.id] += 1
        try:
            return json_response({"status": True, **await self._upload(person)})
        except OSError as error:
            logger.error("An upload can't be stored", exc_info=error)
            raise RequestError(
                "The server has no room to store the file, or its storage does not answer; its log has the reason.",
                code="storage_failed",
                status=507,
            ) from None
        finally:
            _uploading[person.id] -= 1
            if not _uploading[person.id]:
                del _uploading[person.id]

    async def _upload(self, person: Person) -> Json:
        plain = self.request._request
        incoming: Incoming = plain.incoming  # type: ignore[attr-defined]
        most = settings.FUNCTIONS_FILE_MB
        with spool() as form:
            try:
                size = await incoming.save(form, int(most * MB) + ENVELOPE)
            except TooLarge:
                raise RequestError(
                    f"This server takes files of up to {most:g} MB (FUNCTIONS_FILE_MB).",
                    param="file",
                    code="file_too_large",
                    status=413,
                ) from None
            return await in_database(self._store, person, form, size, plain.META.get("CONTENT_TYPE", ""))

    @staticmethod
    def _store(person: Person, form: IO[bytes], size: int, content_type: str) -> Json:
        part = file_in(form, size, content_type)
        try:
            owner = User.objects.get(pk=person.id)
            return File.objects.store(owner, part.name, part.content, part.size).to_wire()
        except User.DoesNotExist:
            raise AuthenticationFailed("The owner of this API key was deleted.") from None
        except UploadRefused as error:
            code = str(error.code)
            raise RequestError(error.messages[0], param="file", code=code, status=STATUSES[code]) from None
        finally:
            part.close()


class FileView(AsyncAPIView):
    """``GET`` and ``DELETE /api/v1/files/{id}``."""

    scope = "files"
    permissions = {"GET": (USE,), "DELETE": (USE,)}

    @describe("Shows what is said about a file", answer=shapes.FILE, errors=(404,), tags=("files",))
    async def get(self, request: Request, file_id: str) -> HttpResponse:
        return json_response((await in_database(file_or_404, self.person, file_id)).to_wire())

    @describe("Deletes a file and its content", answer=shapes.DELETED, errors=(404,), tags=("files",))
    async def delete(self, request: Request, file_id: str) -> HttpResponse:
        await in_database(self._delete, self.person, file_id)
        return json_response({"message": "File deleted successfully"})

    @staticmethod
    def _delete(person: Person, file_id: str) -> None:
        with transaction.atomic():
            file = file_or_404(person, file_id)
            if str(file.user_id) != person.id and not person.can(DELETE_ALL):
                raise PermissionDenied(f"Deleting somebody else's file needs the permission '{DELETE_ALL}'.")
            file.delete()


class FileContentView(AsyncAPIView):
    """``GET /api/v1/files/{id}/content``, with any name behind it; ``Range`` asks for one part."""

    scope = "files"
    permissions = {"GET": (USE,)}

    @describe(
        "Fetches the content of a file",
        answer=shapes.CONTENT,
        content="*/*",
        query={"attachment": {"type": "boolean", "description": "As a download, also of what a browser could show."}},
        errors=(400, 404, 416),
        tags=("files",),
    )
    async def get(self, request: Request, file_id: str, name: str = "") -> HttpResponseBase:
        download = _boolean(request, "attachment")
        file, content = await in_database(self._open, self.person, file_id)
        tag = f'"{file.sha256}"' if file.sha256 else ""
        headers = {
            "Content-Disposition": disposition(file.name, file.content_type, download=download),
            "Content-Security-Policy": SHOWN_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
            "Accept-Ranges": "bytes",
            **({"ETag": tag} if tag else {}),
        }
        if tag and tag in request._request.headers.get("If-None-Match", ""):
            content.close()
            return HttpResponse(status=304, headers=headers)
        asked = request._request.headers.get("Range", "")
        if asked and request._request.headers.get("If-Range", tag) != tag:
            asked = ""
        try:
            part = part_of(asked, file.size)
        except ValueError:
            content.close()
            raise RequestError(
                f"The file has {file.size} bytes; the range asked for begins behind its end.",
                code="invalid_range",
                status=416,
                headers={"Content-Range": f"bytes */{file.size}"},
            ) from None
        first, last = part or (0, file.size - 1)
        if part:
            headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
        headers["Content-Length"] = str(last - first + 1)
        kind = file.content_type or "application/octet-stream"
        return StreamingHttpResponse(
            _Pieces(content, first, last - first + 1),
            status=206 if part else 200,
            content_type=f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
            headers=headers,
        )

    @staticmethod
    def _open(person: Person, file_id: str) -> tuple[File, IO[bytes]]:
        file = file_or_404(person, file_id)
        try:
            return file, file.open()
        except OSError:
            raise RequestError(
                f"The content of file {file.pk} is not there any more.", param="id", code="content_missing", status=404
            ) from None


def part_of(asked: str, size: int) -> tuple[int, int] | None:
    """Returns first and last byte of a ``Range``; None for the whole. Raises ``ValueError`` for one that is not there.

    Several ranges, and units other than bytes, are answered with the whole, as RFC 9110 permits.
    """
    found = re.fullmatch(r"bytes=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))", asked.strip())
    if found is None:
        return None
    begin, end, tail = found.groups()
    first = int(begin) if begin else max(0, size - int(tail))
    last = min(int(end), size - 1) if end else size - 1
    if begin and end and int(end) < first:
        return None
    if first > last:
        raise ValueError(asked)
    return first, last


class _Pieces:
    """A part of a file, read piece by piece in threads."""

    def __init__(self, content: IO[bytes], first: int, length: int) -> None:
        self._content = content
        self._first = first
        self._left = length

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(self._read) if self._left > 0 else b""
        if not piece:
            raise StopAsyncIteration
        self._left -= len(piece)
        return piece

    def _read(self) -> bytes:
        if self._first:
            self._content.seek(self._first)
            self._first = 0
        return self._content.read(min(PIECE, self._left))

    async def aclose(self) -> None:
        self._content.close()
