"""Chats that were shared: this server keeps none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

SharedChatModel = record("SharedChatModel", __name__, "id chat_id user_id", **rows("title chat created_at updated_at"))
SharedChat = SharedChatModel


class SharedChatTable(EmptyTable):
    """Chats that were shared: this server keeps none."""

    why = "This server keeps no chats, and so none to share."
    none = "get_by_id get_by_chat_id get_shared_chat_by_id"
    empty = "get_by_user_id"
    false = "delete_by_id delete_by_chat_id delete_shared_chat_by_chat_id"
    writes = "create update"


SharedChats = SharedChatTable()
