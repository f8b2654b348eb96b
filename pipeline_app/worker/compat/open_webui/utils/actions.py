"""Actions of the server's functions."""

from __future__ import annotations

from typing import Any, NoReturn


async def chat_action(request: Any, action_id: str, form_data: Any, user: Any = None) -> NoReturn:
    """Refuses: actions are triggered by clients."""
    raise NotImplementedError(
        "open_webui.utils.actions.chat_action triggers another function; not available here. "
        "A client triggers actions with POST /api/chat/actions/{id}."
    )
