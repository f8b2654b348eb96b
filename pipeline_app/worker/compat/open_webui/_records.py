"""Rows of tables, and what is sent to make one, in few words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from ._asking import Awaitable


class Record(BaseModel, Awaitable):
    """A row, or what is sent to make one; keeps whatever it is given."""

    model_config = ConfigDict(from_attributes=True, extra="allow")


def record(name: str, module: str, needed: str = "", /, **others: Any) -> Any:
    """Makes a record of the names of the fields that it needs, and of the others with what they are when left out."""
    fields: dict[str, Any] = dict.fromkeys(needed.split(), (Any, ...))
    fields.update({field: (Any, value) for field, value in others.items()})
    return create_model(name, __base__=Record, __module__=module, **fields)


def rows(names: str) -> dict[str, None]:
    """Returns fields that are None when they are left out."""
    return dict.fromkeys(names.split())
