"""Models of providers: here pipes offer them."""

from __future__ import annotations

from typing import Any

from ..utils.chat import generate_chat_completion
from ..utils.models import get_all_models

__all__ = ["generate_chat_completion", "get_all_models", "get_all_models_responses"]


async def get_all_models_responses(request: Any = None, user: Any = None) -> list[Any]:
    """Returns the answers of providers: none are asked here."""
    return []
