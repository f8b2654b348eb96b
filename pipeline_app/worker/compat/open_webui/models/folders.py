"""Folders of chats: this server keeps no chats, and so none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

FolderModel = record(
    "FolderModel",
    __name__,
    "id user_id name",
    is_expanded=False,
    **rows("parent_id items meta data created_at updated_at"),
)
Folder = FolderNameIdResponse = FolderModel
FolderForm = record("FolderForm", __name__, "name", **rows("data meta parent_id"))
FolderUpdateForm = record("FolderUpdateForm", __name__, **rows("name data meta"))


class FolderTable(EmptyTable):
    """Folders of chats: this server keeps no chats, and so none."""

    why = "This server keeps no chats, and so no folders."
    none = (
        "get_folder_by_id get_folder_by_id_and_user_id get_folder_by_parent_id_and_user_id_and_name "
        "get_folder_by_name_and_parent_id_and_user_id"
    )
    empty = (
        "get_folders_by_user_id get_folders_by_parent_id_and_user_id "
        "get_children_folders_by_id_and_user_id delete_folder_by_id_and_user_id "
        "search_folders_by_names"
    )
    writes = (
        "insert_new_folder update_folder_by_id_and_user_id "
        "update_folder_parent_id_by_id_and_user_id update_folder_is_expanded_by_id_and_user_id"
    )


Folders = FolderTable()
