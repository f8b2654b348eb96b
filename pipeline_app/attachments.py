"""The files of a request: what names an upload by its id becomes the whole item that functions expect.

Costs nothing where a request names none. Items of other types are the client's own and pass as they are.
"""

from __future__ import annotations

import uuid
from typing import Any

from functions_app.models import File
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.models import Scope
from pipeline_app.snapshot import Person

Json = dict[str, Any]

MOST = 50
"""How many uploads a request may name."""


class FileMissing(RequestError):
    """A request names a file that its caller does not have."""

    status = 404

    def __init__(self, where: str, file_id: str) -> None:
        super().__init__(
            f"{where}: you have no file '{file_id[:100]}'. "
            "Upload it with POST /api/v1/files/, and use the id of the answer.",
            param=where,
            code="file_not_found",
        )


async def attached(files: Any, person: Person) -> Any:
    """Returns the ``files`` of a request with each of the caller's uploads as ``{type, id, url, name, file, ...}``.

    Raises ``RequestError`` for an upload that is not the caller's own, and for a key that may not use files.
    """
    named = {n: item for n, item in enumerate(files) if _is_upload(item)} if isinstance(files, list) else None
    if not named:
        return files
    if not person.may(Scope.FILES.value):
        raise RequestError(
            "This API key lacks the scope 'files', so it can't send files along; "
            f"it has {', '.join(sorted(person.scopes))}.",
            param="files",
            code="insufficient_permissions",
            status=403,
        )
    if len(named) > MOST:
        raise RequestError(
            f"A request can name {MOST} files; this one names {len(named)}.", param="files", code="too_many_files"
        )
    ids = {n: _id(f"files[{n}]", item["id"]) for n, item in named.items()}
    found = await in_database(_items, person, set(ids.values()))
    whole = list(files)
    for n, item in named.items():
        if ids[n] not in found:
            raise FileMissing(f"files[{n}]", item["id"])
        # What the client adds stays; what the server knows better is the server's.
        whole[n] = {**item, **found[ids[n]]}
    return whole


async def with_files(body: Json, person: Person) -> Json:
    """Returns a request's body with its ``files`` as ``attached`` gives them; the same body where it names none."""
    files = body.get("files")
    whole = await attached(files, person) if files else files
    return body if whole is files else {**body, "files": whole}


def _is_upload(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str) and item.get("type", "file") == "file"


def _id(where: str, text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise FileMissing(where, text) from None


def _items(person: Person, ids: set[uuid.UUID]) -> dict[uuid.UUID, Json]:
    rows = File.objects.stored().filter(user_id=person.id, pk__in=ids)
    return {row.pk: _item(row) for row in rows}


def _item(row: File) -> Json:
    return {
        "type": "file",
        "id": str(row.pk),
        "url": f"/api/v1/files/{row.pk}",
        "name": row.name,
        "file": row.to_wire(row.text()),
        "status": "uploaded",
        "size": row.size,
        "content_type": row.content_type or None,
    }
