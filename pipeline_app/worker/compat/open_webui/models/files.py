"""The caller's own files."""

from __future__ import annotations

import base64
import fnmatch
import json
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from .._asking import Asking, Awaitable, Page, Rows, Table, asks
from .._records import record, rows

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


FileUpdateForm = record("FileUpdateForm", __name__, **rows("hash data meta"))
FileModelResponse = record(
    "FileModelResponse", __name__, "id user_id filename", **rows("hash data meta created_at updated_at")
)
File = FileModel


class FilesTable(Table):
    """The caller's own files; of others there are none here."""

    elsewhere = MappingProxyType(
        {
            "update_file_hash_by_id": "The server computes it from the content.",
            "delete_all_files": "Delete them one by one.",
        }
    )

    @asks
    def insert_new_file(self, user_id: str, form_data: FileForm, db: Any = None) -> Asking:
        """Stores the content at the form's path as a file of the caller's, under the form's id."""
        form = FileForm.model_validate(form_data, from_attributes=True)
        data = {"id": str(form.id), "name": form.filename, "meta": _plain(form.meta), "data": _plain(form.data)}
        stored = yield "files.get", {"id": data["id"]}
        if stored is not None and stored["path"] == form.path:
            return FileModel(**(yield "files.change", data))
        with open(form.path, "rb") as content:
            text = base64.b64encode(content.read()).decode()
        return FileModel(**(yield "files.create", {**data, "content": text}))

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
    def get_file_metadatas_by_ids(self, ids: list[str], db: Any = None) -> Asking:
        """Returns what is said about those of the files that there are."""
        found = Rows()
        for id in ids:
            data = yield "files.get", {"id": str(id)}
            if data is not None:
                found.append(FileMetadataResponse(**data))
        return found

    @asks
    def get_files(self, db: Any = None) -> Asking:
        """Returns the caller's files, the newest first."""
        return (yield from _all_files())

    @asks
    def get_files_by_user_id(self, user_id: str, db: Any = None) -> Asking:
        """Returns a user's files, as far as they are the caller's."""
        return (yield from _all_files(user_id))

    @asks
    def get_file_list(self, user_id: str | None = None, skip: int = 0, limit: int = 50, db: Any = None) -> Asking:
        """Returns a page of the caller's files, the newest first."""
        found = yield from _all_files(user_id)
        return Page(found[skip : skip + limit], len(found))

    @asks
    def search_files(
        self, user_id: str | None = None, filename: str = "*", skip: int = 0, limit: int = 100, db: Any = None
    ) -> Asking:
        """Returns those of the caller's files whose names a pattern with ``*`` and ``?`` fits."""
        pattern = filename.casefold()
        found = yield from _all_files(user_id)
        return Rows(
            [file for file in found if fnmatch.fnmatchcase(file.filename.casefold(), pattern)][skip : skip + limit]
        )

    @asks
    def update_file_by_id(self, id: str, form_data: Any, db: Any = None) -> Asking:
        """Merges facts into the ``data`` and the ``meta`` of a file of the caller's; None when it is not there."""
        return (yield from _change(id, data=_plain(form_data.data), meta=_plain(form_data.meta)))

    @asks
    def update_file_data_by_id(self, id: str, data: dict[str, Any], db: Any = None) -> Asking:
        """Merges facts into the ``data`` of a file of the caller's; None when it is not there."""
        return (yield from _change(id, data=_plain(data)))

    @asks
    def update_file_metadata_by_id(self, id: str, meta: dict[str, Any], db: Any = None) -> Asking:
        """Merges facts into the ``meta`` of a file of the caller's; None when it is not there."""
        return (yield from _change(id, meta=_plain(meta)))

    @asks
    def update_file_name_by_id(self, id: str, name: str, db: Any = None) -> Asking:
        """Renames a file of the caller's; None when it is not there."""
        return (yield from _change(id, name=str(name)))

    @asks
    def delete_file_by_id(self, id: str, db: Any = None) -> Asking:
        """Deletes a file of the caller's with its content. True, also when there was none."""
        yield "files.delete", {"id": str(id)}
        return True

    @asks
    def count_files_by_user_id(self, user_id: str | None = None, db: Any = None) -> Asking:
        """Returns how many files a user has, as far as they are the caller's."""
        return len((yield from _all_files(user_id)))

    @asks
    def check_access_by_user_id(self, id: str, user_id: str, permission: str = "write", db: Any = None) -> Asking:
        """Returns whether a file is a user's, and the caller's."""
        data = yield "files.get", {"id": str(id)}
        return data is not None and data["user_id"] == str(user_id)


def _all_files(user_id: str | None = None) -> Asking:
    found = Rows()
    while True:
        page = yield "files.list", {"skip": len(found), "limit": PAGE}
        found += [FileModel(**data) for data in page["items"]]
        if len(page["items"]) < PAGE:
            return Rows(file for file in found if user_id is None or file.user_id == str(user_id))


def _change(id: str, **changes: Any) -> Asking:
    data = yield "files.change", {"id": str(id), **changes}
    return None if data is None else FileModel(**data)


def _plain(facts: Any) -> dict[str, Any]:
    """Returns what of the facts can be JSON; the rest is dropped."""
    kept: dict[str, Any] = {}
    for name, value in dict(facts or {}).items():
        try:
            kept[str(name)] = json.loads(json.dumps(value))
        except (TypeError, ValueError, RecursionError):
            continue
    return kept


Files = FilesTable()
