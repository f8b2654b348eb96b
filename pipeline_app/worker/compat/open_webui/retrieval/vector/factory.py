"""The store of vectors: none. Writing to it does nothing, and nothing is found in it."""

from __future__ import annotations

from typing import Any


class NoVectors:
    """A store that is always empty."""

    def has_collection(self, collection_name: str) -> bool:
        """Returns that there is none."""
        return False

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Finds nothing."""

    def query(self, *args: Any, **kwargs: Any) -> None:
        """Finds nothing."""

    def get(self, *args: Any, **kwargs: Any) -> None:
        """Finds nothing."""

    def insert(self, *args: Any, **kwargs: Any) -> None:
        """Keeps nothing."""

    def upsert(self, *args: Any, **kwargs: Any) -> None:
        """Keeps nothing."""

    def delete(self, *args: Any, **kwargs: Any) -> None:
        """Has nothing to delete."""

    def delete_collection(self, *args: Any, **kwargs: Any) -> None:
        """Has nothing to delete."""

    def reset(self) -> None:
        """Has nothing to delete."""


VECTOR_DB_CLIENT = NoVectors()
