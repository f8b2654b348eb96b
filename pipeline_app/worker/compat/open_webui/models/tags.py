"""Tags: this server keeps no chats, and so none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

TagModel = record("TagModel", __name__, "id name user_id", **rows("meta"))
Tag = TagChatIdForm = TagModel


class TagTable(EmptyTable):
    """Tags: this server keeps no chats, and so none."""

    why = "This server keeps no chats, and so no tags; tag the running one with Chats.update_chat_tags_by_id()."
    none = "get_tag_by_name_and_user_id"
    empty = "get_tags_by_user_id get_tags_by_ids_and_user_id"
    false = "delete_tag_by_name_and_user_id"
    writes = "insert_new_tag"


Tags = TagTable()
