"""What functions remember of the caller, for whichever function runs for them later."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from .._asking import Asking, Rows, Table, asks
from .._records import record, rows

MemoryModel = record(
    "MemoryModel", __name__, "id user_id content updated_at created_at", type="context", **rows("path meta")
)
Memory = MemoryModel


class MemoriesTable(Table):
    """The caller's memories; of others there are none here."""

    elsewhere = MappingProxyType({"get_memories": "A function sees the caller's memories: get_memories_by_user_id()."})

    @asks
    def insert_new_memory(
        self,
        user_id: str,
        content: str,
        memory_type: str | None = None,
        path: str | None = None,
        meta: dict[str, Any] | None = None,
        db: Any = None,
    ) -> Asking:
        """Remembers something of the caller."""
        given = {"user_id": str(user_id), "content": content, "path": path or "", "meta": meta or {}}
        data = yield "memories.create", {**given, "type": memory_type or "context"}
        return MemoryModel(**data)

    @asks
    def get_memories_by_user_id(self, user_id: str, db: Any = None) -> Asking:
        """Returns a user's memories, the oldest first, as far as they are the caller's."""
        return Rows(memory for memory in (yield from _memories()) if memory.user_id == str(user_id))

    @asks
    def get_memory_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns a memory of the caller's; None when it is not there."""
        return next((memory for memory in (yield from _memories()) if memory.id == str(id)), None)

    @asks
    def update_memory_by_id_and_user_id(
        self,
        id: str,
        user_id: str,
        content: str,
        memory_type: str | None = None,
        path: str | None = None,
        update_path: bool = False,
        meta: dict[str, Any] | None = None,
        db: Any = None,
    ) -> Asking:
        """Changes a memory of the caller's; None when it is not there."""
        if not any(memory.id == str(id) and memory.user_id == str(user_id) for memory in (yield from _memories())):
            return None
        given = {"path": path or "", "move": bool(update_path or path), "meta": meta or {}}
        return (yield from _changed(id, content, memory_type, given))

    @asks
    def update_memory_by_id(self, id: str, content: str, db: Any = None) -> Asking:
        """Changes the text of a memory of the caller's, as older functions do."""
        return (yield from _changed(id, content, None, {}))

    @asks
    def delete_memory_by_id(self, id: str, db: Any = None) -> Asking:
        """Deletes a memory of the caller's; False when it is not there."""
        return bool((yield "memories.delete", {"ids": [str(id)]}))

    @asks
    def delete_memory_by_id_and_user_id(self, id: str, user_id: str, db: Any = None) -> Asking:
        """Deletes a memory of the caller's; False when it is not there."""
        return (yield from _deleted(user_id, [str(id)]))

    @asks
    def delete_memories_by_user_id(self, user_id: str, db: Any = None) -> Asking:
        """Deletes all memories of the caller's; False when there are none."""
        return (yield from _deleted(user_id, None))


def _memories() -> Asking:
    return Rows(MemoryModel(**data) for data in (yield "memories.list", {}))


def _changed(id: str, content: str, kind: str | None, given: dict[str, Any]) -> Asking:
    data = yield "memories.change", {"id": str(id), "content": content, "type": kind or "", **given}
    return None if data is None else MemoryModel(**data)


def _deleted(user_id: str, ids: list[str] | None) -> Asking:
    own = [memory.id for memory in (yield from _memories()) if memory.user_id == str(user_id)]
    wanted = own if ids is None else [id for id in ids if id in own]
    return bool(wanted and (yield "memories.delete", {"ids": wanted}))


Memories = MemoriesTable()
