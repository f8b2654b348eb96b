"""The application, and the whole way of a chat through filters and models."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from pipeline_app.worker.request import application

from .utils.chat import completion

__all__ = ["Request", "app", "chat_completion", "generate_chat_completion", "generate_chat_completions"]

app = application()


async def generate_chat_completions(
    request: Any = None, form_data: Any = None, user: Any = None, bypass_filter: bool = False, **_: Any
) -> Any:
    """Returns a model's answer as a client gets it, filters included: a dict, or with ``stream`` a response.

    The request may be left out, as in releases before 0.5.
    """
    if form_data is None and isinstance(request, dict):
        request, form_data = None, request
    elif isinstance(request, dict) and not isinstance(form_data, dict):
        request, form_data, user = None, request, form_data
    return await completion(request, form_data, user, filters=True)


generate_chat_completion = chat_completion = generate_chat_completions
