"""What stores of vectors take and give."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class VectorItem(BaseModel):
    """A text with its vector."""

    id: str
    text: str
    vector: list[float | int]
    metadata: Any = None


class GetResult(BaseModel):
    """Texts: for each question a list."""

    ids: list[list[str]] | None = None
    documents: list[list[str]] | None = None
    metadatas: list[list[Any]] | None = None


class SearchResult(GetResult):
    """Texts with how near they are; the higher the nearer."""

    distances: list[list[float | int]] | None = None
