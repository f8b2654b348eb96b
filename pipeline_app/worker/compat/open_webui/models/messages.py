"""Messages in channels: this server has none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

MessageModel = record(
    "MessageModel",
    __name__,
    "id user_id content",
    **rows("channel_id reply_to_id parent_id data meta created_at updated_at"),
)
Message = MessageResponse = MessageUserResponse = MessageReplyToResponse = MessageModel
MessageForm = record("MessageForm", __name__, "content", **rows("reply_to_id parent_id data meta"))


class MessageTable(EmptyTable):
    """Messages in channels: this server has none."""

    why = "This server has no channels, and so no messages in them."
    none = "get_message_by_id get_last_message_by_channel_id"
    empty = (
        "get_messages_by_channel_id get_messages_by_parent_id get_thread_replies_by_message_id "
        "get_replies_by_message_id get_pinned_messages_by_channel_id get_reactions_by_message_id "
        "search_messages_by_channel_ids"
    )
    zero = "get_unread_message_count"
    false = "delete_message_by_id"
    writes = "insert_new_message update_message_by_id add_reaction_to_message"


Messages = MessageTable()
