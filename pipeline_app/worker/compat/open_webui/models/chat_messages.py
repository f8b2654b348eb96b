"""Messages of kept chats: this server keeps none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

ChatMessageModel = record(
    "ChatMessageModel",
    __name__,
    "id chat_id user_id role",
    **rows("parent_id content output model_id files sources usage created_at updated_at"),
)
ChatMessage = ChatMessageModel


class ChatMessageTable(EmptyTable):
    """Messages of kept chats: this server keeps none."""

    why = "This server keeps no chats; the running one is in open_webui.models.chats."
    none = "get_message_by_id get_latest_message_by_chat_id"
    empty = "get_messages_by_chat_id get_messages_by_user_id get_messages_by_model_id"
    facts = (
        "get_messages_map_by_chat_id get_token_usage_by_model get_token_usage_by_user "
        "get_message_count_by_model get_message_count_by_user"
    )
    false = "delete_messages_by_chat_id"
    writes = "upsert_message"


ChatMessages = ChatMessageTable()
