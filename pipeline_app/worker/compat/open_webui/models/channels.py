"""Channels: this server has none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

ChannelModel = record(
    "ChannelModel",
    __name__,
    "id user_id name",
    **rows("type description data meta access_grants created_at updated_at"),
)
Channel = ChannelResponse = ChannelModel
ChannelForm = record("ChannelForm", __name__, "name", **rows("type description data meta access_grants"))


class ChannelTable(EmptyTable):
    """Channels: this server has none."""

    why = "This server has no channels."
    none = "get_channel_by_id get_channel_by_id_and_user_id get_dm_channel_by_user_ids"
    empty = "get_channels get_channels_by_user_id get_channels_by_file_id get_members_by_channel_id"
    false = "is_user_channel_member is_user_channel_manager delete_channel_by_id"
    writes = "insert_new_channel update_channel_by_id add_members_to_channel"


Channels = ChannelTable()
