"""What functions may ask about files, and do with them: the caller's own, whoever that is."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType

from django.db import transaction

from functions_app.fields import storable
from functions_app.models import File, User
from functions_app.models.file import UploadRefused
from functions_app.uploads import clean_name
from pipeline_app.errors import RequestError
from pipeline_app.hostcalls.declared import LIMIT, SKIP, Asked, HostCall, Json, facts, text, uuid_of, whole
from pipeline_app.models import Scope

PART = 96 * 1024
"""Bytes of a file in one piece of a stream; base64 makes 128 KB of it, so that several fit into a window."""
LONGEST_READ = 1024 * 1024
LONGEST_WRITTEN = 11 * 1024 * 1024
"""Bytes of a file that a function makes: base64 of them fits into one host call (``worker.hosts.MOST_ASKED``)."""


async def _file(asked: Asked, id: str) -> Json | None:
    """Returns one of the person's own files as Open WebUI's ``FileModel`` has it; None when it is not there."""
    row = await _own_file(asked, id)
    return None if row is None else await asked.database(_told, row)


async def _files(asked: Asked, skip: int, limit: int) -> Json:
    """Returns ``{"items": [...], "total"}`` of the person's own files, the newest first."""

    def read() -> Json:
        rows = File.objects.stored().filter(user_id=asked.person.id)
        return {"items": [row.to_wire() for row in rows[skip : skip + limit]], "total": rows.count()}

    return await asked.database(read)


async def _create(asked: Asked, id: str, name: str, content: str, meta: Json, data: Json) -> Json:
    """Stores a file of the person's under an id that the function chose, and returns it."""
    key = uuid_of(id)
    if key is None:
        raise RequestError("The id of a file is a UUID, such as str(uuid.uuid4()) makes one.")
    try:
        given = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError("'content' of files.create must be text in base64.") from None

    def store() -> Json:
        owner = User.objects.filter(pk=asked.person.id).first()
        if owner is None:
            raise RequestError("The caller's account is gone.")
        if File.objects.filter(pk=key).exists():
            raise RequestError(f"There is a file with the id {id} already; choose another.")
        row = File.objects.store(
            owner, name, io.BytesIO(given), len(given), id=key, meta=storable(meta), data=storable(data)
        )
        return _told(row)

    try:
        return await asked.database(store)
    except UploadRefused as error:
        raise RequestError(" ".join(error.messages)) from None


async def _change(asked: Asked, id: str, name: str, meta: Json, data: Json) -> Json | None:
    """Renames one of the person's files, and merges facts into its ``meta`` and ``data``; None when it is not there."""
    key = uuid_of(id)

    def change() -> Json | None:
        with transaction.atomic():
            row = File.objects.stored().select_for_update().filter(pk=str(key), user_id=asked.person.id).first()
            if row is None:
                return None
            row.name = clean_name(name) if name else row.name
            row.check_allowed()
            row.meta, row.data = storable({**row.meta, **meta}), storable({**row.data, **data})
            if not (_FACT.fits(row.meta) and _FACT.fits(row.data)):
                raise RequestError(f"'meta' and 'data' of a file are each {_FACT.words}.")
            row.save(update_fields=["name", "meta", "data", "updated_at"])
        return _told(row)

    try:
        return None if key is None else await asked.database(change)
    except UploadRefused as error:
        raise RequestError(" ".join(error.messages)) from None


async def _delete(asked: Asked, id: str) -> bool:
    """Deletes one of the person's own files with its content; False when it is not there."""
    row = await _own_file(asked, id)
    if row is None:
        return False
    await asked.database(row.delete)
    return True


async def _read(asked: Asked, id: str, offset: int, length: int) -> str:
    """Returns a piece of one of the person's own files in base64; empty beyond its end."""
    row = await _needed_file(asked, id)
    return await asked.database(_piece, row, offset, length)


async def _stream(asked: Asked, id: str) -> AsyncIterator[str]:
    """Yields one of the person's own files from beginning to end, in pieces of base64."""
    row = await _needed_file(asked, id)
    offset = 0
    while True:
        piece = await asked.database(_piece, row, offset, PART)
        if not piece:
            return
        yield piece
        offset += PART


def _told(row: File) -> Json:
    return row.to_wire(row.text())


def _piece(row: File, offset: int, length: int) -> str:
    try:
        with row.open() as content:
            content.seek(offset)
            return base64.b64encode(content.read(length)).decode()
    except OSError:
        raise RequestError(f"The content of file {row.pk} is not there.") from None


async def _own_file(asked: Asked, id: str) -> File | None:
    key = uuid_of(id)
    if key is None:
        return None
    return await asked.database(File.objects.stored().filter(pk=key, user_id=asked.person.id).first)


async def _needed_file(asked: Asked, id: str) -> File:
    row = await _own_file(asked, id)
    if row is None:
        raise RequestError(f"The caller has no file {id!r}.")
    return row


_FACT = facts(default={})
_CONTENT = text(LONGEST_WRITTEN * 4 // 3 + 4)
_FACTS = {"meta": _FACT, "data": _FACT}
_FILES = Scope.FILES.value

METHODS: Mapping[str, HostCall] = MappingProxyType(
    {
        "files.get": HostCall("files", _FILES, {"id": text()}, _file),
        "files.list": HostCall("files", _FILES, {"skip": SKIP, "limit": LIMIT}, _files),
        "files.read": HostCall(
            "files",
            _FILES,
            {"id": text(), "offset": whole(0, 2**62, 0), "length": whole(1, LONGEST_READ, LONGEST_READ)},
            _read,
        ),
        "files.stream": HostCall("files", _FILES, {"id": text()}, _stream),
        "files.create": HostCall(
            "files", _FILES, {"id": text(), "name": text(), "content": _CONTENT, **_FACTS}, _create
        ),
        "files.change": HostCall("files", _FILES, {"id": text(), "name": text(default=""), **_FACTS}, _change),
        "files.delete": HostCall("files", _FILES, {"id": text()}, _delete),
    }
)
