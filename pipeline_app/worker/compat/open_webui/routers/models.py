"""Stored models, as the endpoints list them."""

from __future__ import annotations

from typing import Any

from .._asking import Asking, Page, asks
from .._either import course
from ..models.models import Models


@asks
def get_models(query: str | None = None, *_: Any, **__: Any) -> Asking:
    """Returns the presets that the caller may use, with ``items`` and ``total``."""
    found = yield from course(Models.get_models)
    return Page([model for model in found if not query or query.lower() in model.name.lower()])


@asks
def get_base_models(*_: Any, **__: Any) -> Asking:
    """Returns the stored settings of pipes."""
    return (yield from course(Models.get_base_models))
