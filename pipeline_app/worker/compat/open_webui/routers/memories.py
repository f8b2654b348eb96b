"""What is remembered of the caller, as functions add to it and look it up."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from pydantic import BaseModel

from .._asking import Asking, asks
from .._either import course
from ..models.memories import Memories
from ..retrieval.vector.main import SearchResult


class AddMemoryForm(BaseModel):
    """Something to remember."""

    content: str
    type: str = "context"
    path: str | None = None


class MemoryUpdateModel(BaseModel):
    """What changes of something remembered."""

    content: str | None = None
    type: str | None = None
    path: str | None = None


class QueryMemoryForm(BaseModel):
    """What to look up, and how much of it."""

    content: str
    k: int | None = 1


def _id_of(user: Any) -> str:
    return str(user.get("id") if isinstance(user, dict) else getattr(user, "id", ""))


def _missing(detail: str) -> Exception:
    from fastapi import HTTPException

    error: Exception = HTTPException(404, detail)
    return error


@asks
def get_memories(user: Any = None, *_: Any, **__: Any) -> Asking:
    """Returns all that is remembered of the caller."""
    return (yield from course(Memories.get_memories_by_user_id, _id_of(user)))


@asks
def add_memory(request: Any, form_data: Any, user: Any = None, db: Any = None) -> Asking:
    """Remembers something."""
    return (
        yield from course(Memories.insert_new_memory, _id_of(user), form_data.content, getattr(form_data, "type", None))
    )


@asks
def update_memory_by_id(
    memory_id: str, request: Any = None, form_data: Any = None, user: Any = None, db: Any = None
) -> Asking:
    """Changes something remembered. Raises ``HTTPException`` 404 where there is no such thing."""
    found = yield from course(
        Memories.update_memory_by_id_and_user_id, memory_id, _id_of(user), form_data.content, form_data.type
    )
    if found is None:
        raise _missing("Memory not found")
    return found


@asks
def delete_memory_by_id(memory_id: str, request: Any = None, user: Any = None, db: Any = None) -> Asking:
    """Forgets something; returns whether it was there."""
    return (yield from course(Memories.delete_memory_by_id_and_user_id, memory_id, _id_of(user)))


@asks
def query_memory(request: Any, form_data: Any, user: Any = None, db: Any = None) -> Asking:
    """Returns what is remembered nearest to a text, by the words that they share; the higher the distance the nearer.

    Raises ``HTTPException`` 404 where nothing is remembered.
    """
    memories = yield from course(Memories.get_memories_by_user_id, _id_of(user))
    if not memories:
        raise _missing("No memories found for user")
    common = Counter(word for memory in memories for word in set(_words(memory.content)))
    wanted = set(_words(form_data.content))
    rated = sorted(((_shared(wanted, memory.content, common), memory) for memory in memories), key=lambda one: -one[0])
    best = rated[: form_data.k or 1]
    return SearchResult(
        ids=[[memory.id for _, memory in best]],
        documents=[[memory.content for _, memory in best]],
        metadatas=[[{"created_at": memory.created_at, "updated_at": memory.updated_at} for _, memory in best]],
        distances=[[rating for rating, _ in best]],
    )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _shared(wanted: set[str], text: str, common: Counter[str]) -> float:
    """Returns how much of the wanted words a text has, from 0 to 1; words that are everywhere count less."""

    def weight(words: set[str]) -> float:
        return sum(1 / math.log2(2 + common[word]) for word in words)

    whole = weight(wanted)
    return round(weight(wanted & set(_words(text))) / whole, 4) if whole else 0.0
