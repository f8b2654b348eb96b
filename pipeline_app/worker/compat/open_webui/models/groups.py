"""Groups of people, which are Django's."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from .._asking import Asking, Rows, Table, asks
from .._records import record, rows

GroupModel = record(
    "GroupModel",
    __name__,
    "id name",
    user_id="",
    description="",
    created_at=0,
    updated_at=0,
    **rows("parent_group_id data meta permissions"),
)
GroupResponse = Group = GroupModel
GroupForm = record("GroupForm", __name__, "name", description="", **rows("parent_group_id permissions data"))
GroupUpdateForm = record("GroupUpdateForm", __name__, **rows("name description parent_group_id permissions data"))


class GroupTable(Table):
    """What functions ask about groups: the caller's own, and any for those who may view groups."""

    elsewhere = MappingProxyType(
        {
            "insert_new_group update_group_by_id delete_group_by_id delete_all_groups add_users_to_group "
            "remove_users_from_group set_group_user_ids_by_id sync_groups_by_group_names "
            "remove_user_from_all_groups": "Groups and who is in them are managed in the admin."
        }
    )

    @asks
    def get_groups_by_member_id(self, user_id: str, *, include_inherited: bool = False, db: Any = None) -> Asking:
        """Returns the groups that somebody is in."""
        return (yield from _groups(user_id))

    @asks
    def get_groups(self, filter: dict[str, Any] | None = None, db: Any = None) -> Asking:
        """Returns the groups; a filter may have ``member_id`` and ``query`` (text of the name)."""
        given = filter or {}
        query = str(given.get("query") or "").casefold()
        found = yield from _groups(given.get("member_id") or "")
        return Rows(group for group in found if query in group.name.casefold())

    @asks
    def get_all_groups(self, db: Any = None) -> Asking:
        """Returns the groups."""
        return (yield from _groups())

    @asks
    def get_group_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns a group; None when there is none."""
        return (yield from _first(lambda group: group.id == str(id)))

    @asks
    def get_group_by_name(self, name: str, db: Any = None) -> Asking:
        """Returns the group of a name; None when there is none."""
        return (yield from _first(lambda group: group.name == name))

    @asks
    def get_group_user_ids_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns who is in a group, for callers who may view users."""
        return Rows((yield "groups.members", {"id": str(id)}))

    @asks
    def get_group_member_count_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns how many are in a group, for callers who may view users."""
        return len((yield "groups.members", {"id": str(id)}))


def _groups(user_id: str = "") -> Asking:
    return Rows(GroupModel(**data) for data in (yield "groups.list", {"user_id": str(user_id)}))


def _first(wanted: Callable[[Any], bool]) -> Asking:
    return next((group for group in (yield from _groups()) if wanted(group)), None)


Groups = GroupTable()
