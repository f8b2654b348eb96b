"""What an id of a chat says: whether it is kept."""

from __future__ import annotations

PREFIXES = ("temporary:", "local:", "channel:")


def is_temporary_chat_id(chat_id: str | None) -> bool:
    """Whether a chat is kept by nobody."""
    return isinstance(chat_id, str) and chat_id.startswith(("temporary:", "local:"))


def is_saved_chat_id(chat_id: str | None) -> bool:
    """Whether a chat is one that is kept."""
    return bool(chat_id) and not str(chat_id).startswith(PREFIXES)
