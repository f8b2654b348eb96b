"""The caller's own files."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from .._asking import Asking, Awaitable, Rows, Table, asks

PAGE = 100


class FileModel(BaseModel, Awaitable):
    """An upload, without its content."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    user_id: str
    hash: str | None = None
    filename: str
    path: str | None = None
    data: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    created_at: int | None = None
    updated_at: int | None = None


class FileMetadataResponse(BaseModel, Awaitable):
    """What is said about an upload."""

    id: str
    hash: str | None = None
    meta: dict[str, Any]
    created_at: int
    updated_at: int


class FileForm(BaseModel):
    """An upload to be stored."""

    id: str
    hash: str | None = None
    filename: str
    path: str
    data: dict[str, Any] = {}
    meta: dict[str, Any] = {}


class FilesTable(Table):
    """What functions ask about files."""

    @asks
    def get_file_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns a file of the caller's; None when it is not there."""
        data = yield "files.get", {"id": str(id)}
        return None if data is None else FileModel(**data)

    @asks
    def get_file_by_id_and_user_id(self, id: str, user_id: str, db: Any = None) -> Asking:
        """Returns a file of the caller's if it belongs to a user."""
        data = yield "files.get", {"id": str(id)}
        return None if data is None or data["user_id"] != str(user_id) else FileModel(**data)

    @asks
    def get_file_metadata_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns what is said about a file of the caller's."""
        data = yield "files.get", {"id": str(id)}
        return None if data is None else FileMetadataResponse(**data)

    @asks
    def get_files_by_ids(self, ids: list[str], db: Any = None) -> Asking:
        """Returns those of the files that there are."""
        found = Rows()
        for id in ids:
            data = yield "files.get", {"id": str(id)}
            if data is not None:
                found.append(FileModel(**data))
        return found

    @asks
    def get_files(self, db: Any = None) -> Asking:
        """Returns the caller's files, the newest first."""
        return (yield from _all_files())

    @asks
    def get_files_by_user_id(self, user_id: str, db: Any = None) -> Asking:
        """Returns a user's files, as far as they are the caller's."""
        found = yield from _all_files()
        return Rows(file for file in found if file.user_id == str(user_id))


def _all_files() -> Asking:
    found = Rows()
    while True:
        page = yield "files.list", {"skip": len(found), "limit": PAGE}
        found += [FileModel(**data) for data in page["items"]]
        if len(page["items"]) < PAGE:
            return found


Files = FilesTable()
