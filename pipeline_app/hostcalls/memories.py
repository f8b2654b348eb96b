"""What functions remember of the caller: of nobody else, whoever that is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError

from functions_app.fields import storable
from functions_app.models import Memory
from functions_app.models.memory import LONGEST, MOST
from pipeline_app.errors import RequestError
from pipeline_app.hostcalls.declared import Asked, HostCall, Json, Parameter, facts, flag, text, uuid_of


async def _memories(asked: Asked) -> list[Json]:
    """Returns the person's memories as Open WebUI's ``MemoryModel`` has them, the oldest first."""

    def read() -> list[Json]:
        return [row.to_wire() for row in Memory.objects.of(asked.person.id)[:MOST]]

    return await asked.database(read)


async def _create(asked: Asked, user_id: str, content: str, type: str, path: str, meta: Json) -> Json:
    """Remembers something of the person, and returns it."""
    if user_id != asked.person.id:
        raise RequestError("A function remembers things of the caller, and of nobody else.")

    def create() -> Json:
        return Memory.objects.remember(asked.person.id, content, kind=type, path=path, meta=storable(meta)).to_wire()

    try:
        return await asked.database(create)
    except ValidationError as error:
        raise RequestError(" ".join(error.messages)) from None
    except ObjectDoesNotExist:
        raise RequestError("The caller's account is gone.") from None


async def _change(asked: Asked, id: str, content: str, type: str, path: str, move: bool, meta: Json) -> Json | None:
    """Changes one of the person's memories, and returns it; None when it is not there. Empty parts stay as they are."""
    key = uuid_of(id)

    def change() -> Json | None:
        row = Memory.objects.of(asked.person.id).filter(pk=key).first() if key is not None else None
        if row is None:
            return None
        row.content, row.kind = content or row.content, type or row.kind
        row.path = path if move else row.path
        row.meta = storable({**row.meta, **meta})
        row.save(update_fields=["content", "kind", "path", "meta", "updated_at"])
        return row.to_wire()

    return await asked.database(change)


async def _delete(asked: Asked, ids: Any) -> int:
    """Deletes some of the person's memories, all of them without ids, and returns how many there were."""

    def delete() -> int:
        rows = Memory.objects.of(asked.person.id)
        if ids is not None:
            rows = rows.filter(pk__in=[key for key in map(uuid_of, ids) if key is not None])
        return rows.delete()[0]

    return await asked.database(delete)


def _are_ids(value: Any) -> bool:
    return value is None or (
        type(value) is list and len(value) <= MOST and all(type(id) is str and len(id) <= 255 for id in value)
    )


_FACTS = facts(20_000, {})
_IDS = Parameter(f"a list of at most {MOST} ids, or null", _are_ids, None)
_ONES = {"type": text(20, ""), "path": text(255, ""), "meta": _FACTS}

METHODS: Mapping[str, HostCall] = MappingProxyType(
    {
        "memories.list": HostCall("chats", None, {}, _memories),
        "memories.create": HostCall(
            "chats", None, {"user_id": text(), "content": text(LONGEST), **_ONES, "type": text(20, "context")}, _create
        ),
        "memories.change": HostCall(
            "chats", None, {"id": text(), "content": text(LONGEST, ""), "move": flag(False), **_ONES}, _change
        ),
        "memories.delete": HostCall("chats", None, {"ids": _IDS}, _delete),
    }
)
