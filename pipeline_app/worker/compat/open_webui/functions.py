"""Pipes as Open WebUI calls them."""

from __future__ import annotations

from typing import Any, NoReturn

from .utils.chat import completion
from .utils.models import get_all_models


async def generate_function_chat_completion(request: Any, form_data: Any, user: Any = None, models: Any = None) -> Any:
    """Returns a pipe's answer, see ``utils.chat.generate_chat_completion``."""
    return await completion(request, form_data, user)


async def get_function_models(request: Any = None) -> list[Any]:
    """Returns the models that pipes offer."""
    return [model for model in await get_all_models(request) if "pipe" in model]


async def get_function_module_by_id(request: Any, pipe_id: str) -> NoReturn:
    """Refuses: another function's object lives in another process."""
    raise NotImplementedError(
        "open_webui.functions.get_function_module_by_id needs the object of another function; not available here. "
        "Ask its model with utils.chat.generate_chat_completion."
    )
