"""Users, as the caller of the running hook may see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import date
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from .._asking import Asking, Awaitable, Page, Rows, Table, answers, asks
from .._records import Record, record, rows

PAGE = 100
ACTIVE = 180
"""Seconds for which somebody counts as active after they were seen."""


class UserSettings(BaseModel):
    """What a user prefers."""

    model_config = ConfigDict(extra="allow")

    ui: dict[str, Any] | None = {}


class UserModel(BaseModel, Awaitable):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    email: str
    username: str | None = None
    role: str = "pending"
    name: str
    profile_image_url: str | None = None
    profile_banner_image_url: str | None = None
    bio: str | None = None
    gender: str | None = None
    date_of_birth: date | None = None
    timezone: str | None = None
    presence_state: str | None = None
    status_emoji: str | None = None
    status_message: str | None = None
    status_expires_at: int | None = None
    info: dict[str, Any] | None = None
    variables: dict[str, Any] = Field(default_factory=dict, exclude=True)
    settings: UserSettings | None = None
    oauth: dict[str, Any] | None = None
    scim: dict[str, Any] | None = None
    last_active_at: int
    updated_at: int
    created_at: int

    @field_validator("variables", mode="before")
    @classmethod
    def _object(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {}

    @model_validator(mode="after")
    def _with_image(self) -> UserModel:
        if not self.profile_image_url:
            self.profile_image_url = f"/api/v1/users/{self.id}/profile/image"
        return self

    @property
    def api_key(self) -> None:
        """Gone from Open WebUI; functions of its time still look at it."""

    @property
    def oauth_sub(self) -> None:
        """Gone from Open WebUI; functions of its time still look at it."""


User = UserModel


class UserStatusModel(UserModel):
    """A user, and whether they were seen lately."""

    is_active: bool = False


class UserResponse(Record):
    """What is shown of a user."""

    id: str
    name: str
    role: str = "user"
    profile_image_url: str | None = None


class UserNameResponse(UserResponse):
    """Who a user is."""


UserUpdateForm = record("UserUpdateForm", __name__, **rows("name email profile_image_url role password"))
UserRoleUpdateForm = record("UserRoleUpdateForm", __name__, "id role")


class UsersTable(Table):
    """What functions ask about users."""

    elsewhere = MappingProxyType(
        {
            "insert_new_user delete_user_by_id update_user_role_by_id": "Accounts and roles are managed in the admin.",
            "get_user_by_api_key get_user_api_key_by_id update_user_api_key_by_id delete_user_api_key_by_id": (
                "Keys are kept as digests that only the server compares; manage them in the admin."
            ),
        }
    )

    @asks
    def get_user_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns a user, None when there is none; of others only what is public, unless the caller may view users."""
        data = yield "users.get", {"id": str(id)}
        return None if data is None else UserModel(**data)

    @asks
    def get_user_by_email(self, email: str, db: Any = None) -> Asking:
        """Returns the user with an address: the caller, and anybody for those who may view users."""
        data = yield "users.find", {"email": str(email)}
        return None if data is None else UserModel(**data)

    @answers
    def get_user_by_oauth_sub(self, provider: str, sub: str, db: Any = None) -> None:
        """Returns None: what a provider calls a person is not told."""
        return None

    @asks
    def get_users(
        self,
        filter: dict[str, Any] | None = None,
        sort: Any = None,
        skip: int | None = None,
        limit: int | None = None,
        db: Any = None,
    ) -> Asking:
        """Returns the users that the caller may see, in the order in which they came.

        The filter may have ``query`` (text of name, user name or address), ``roles`` and ``user_ids``.
        """
        wanted = _filter(filter or {})
        if wanted is None:
            return (yield from _users(skip or 0, limit))
        found = [user for user in (yield from _users()) if wanted(user)]
        end = None if limit is None else (skip or 0) + limit
        return Page(found[skip or 0 : end], len(found), "users")

    @asks
    def get_users_by_user_ids(self, user_ids: list[str], db: Any = None) -> Asking:
        """Returns those of the users that there are."""
        return (yield from _by_ids(user_ids, _with_status))

    @asks
    def get_users_by_group_id(self, group_id: str, db: Any = None) -> Asking:
        """Returns who is in a group, for callers who may view users."""
        return (yield from _by_ids((yield "groups.members", {"id": str(group_id)}), lambda data: UserModel(**data)))

    @asks
    def get_num_users(self, db: Any = None) -> Asking:
        """Returns how many users the caller may see."""
        return (yield "users.list", {"limit": 1})["total"]

    @answers
    def has_users(self, db: Any = None) -> bool:
        """Returns True: somebody calls."""
        return True

    @asks
    def get_first_user(self, db: Any = None) -> Asking:
        """Returns the one of the users that the caller may see who came first."""
        return next(iter((yield from _users(0, 1))), None)

    @asks
    def get_super_admin_user(self, db: Any = None) -> Asking:
        """Returns an admin whom the caller may see; None where there is none."""
        return next((user for user in (yield from _users()) if user.role == "admin"), None)

    @asks
    def get_valid_user_ids(self, user_ids: list[str], db: Any = None) -> Asking:
        """Returns the ids that are somebody's."""
        return Rows([user.id for user in (yield from _by_ids(user_ids, _with_status))])

    @asks
    def update_user_by_id(self, id: str, updated: dict[str, Any], db: Any = None) -> Asking:
        """Changes a user's name, picture, time zone, ``info`` or ``settings``; takes the grant ``users.write``."""
        return (yield from _change(id, dict(updated)))

    @asks
    def update_user_settings_by_id(self, id: str, updated: dict[str, Any], db: Any = None) -> Asking:
        """Merges settings into a user's; inside ``ui`` field by field, where None deletes."""
        return (yield from _change(id, {"settings": dict(updated)}))

    @asks
    def update_user_profile_image_url_by_id(self, id: str, profile_image_url: str, db: Any = None) -> Asking:
        """Changes a user's picture."""
        return (yield from _change(id, {"profile_image_url": profile_image_url}))

    @answers
    def update_last_active_by_id(self, id: str, db: Any = None) -> None:
        """Does nothing: the server sees by itself who was active when."""
        return None

    @staticmethod
    def is_active(user: Any) -> bool:
        """Returns whether a user was seen lately."""
        return bool(user) and (getattr(user, "last_active_at", 0) or 0) >= time.time() - ACTIVE

    @asks
    def is_user_active(self, user_id: str, db: Any = None) -> Asking:
        """Returns whether a user was seen lately."""
        data = yield "users.get", {"id": str(user_id)}
        return data is not None and self.is_active(UserModel(**data))

    @asks
    def get_active_user_count(self, db: Any = None) -> Asking:
        """Returns how many of the users that the caller may see were seen lately."""
        return sum(map(self.is_active, (yield from _users())))


def _users(skip: int = 0, limit: int | None = None) -> Asking:
    users: list[UserModel] = []
    total = 0
    while limit is None or len(users) < limit:
        most = PAGE if limit is None else min(PAGE, limit - len(users))
        page = yield "users.list", {"skip": skip + len(users), "limit": most}
        users += [UserModel(**data) for data in page["users"]]
        total = page["total"]
        if len(page["users"]) < most:
            break
    return Page(users, total, "users")


def _by_ids(ids: Iterable[str], make: Callable[[dict[str, Any]], Any]) -> Asking:
    found = Rows()
    for id in ids:
        data = yield "users.get", {"id": str(id)}
        if data is not None:
            found.append(make(data))
    return found


def _with_status(data: dict[str, Any]) -> UserStatusModel:
    return UserStatusModel(**data, is_active=data["last_active_at"] >= time.time() - ACTIVE)


def _change(id: str, changes: dict[str, Any]) -> Asking:
    data = yield "users.change", {"id": str(id), "changes": changes}
    return None if data is None else UserModel(**data)


def _filter(filter: dict[str, Any]) -> Callable[[UserModel], bool] | None:
    """Returns which users a filter wants; None for all."""
    given = {name: value for name, value in filter.items() if value and name not in ("order_by", "direction")}
    unknown = sorted(given.keys() - {"query", "roles", "user_ids"})
    if unknown:
        raise NotImplementedError(f"open_webui.models.users: get_users() has no filter {unknown[0]!r} here.")
    if not given:
        return None
    query, roles, ids = str(given.get("query", "")).casefold(), given.get("roles"), given.get("user_ids")

    def wants(user: UserModel) -> bool:
        said = " ".join((user.name, user.username or "", user.email)).casefold()
        return query in said and (not roles or user.role in roles) and (not ids or user.id in ids)

    return wants


Users = UsersTable()
