"""Users, as the caller of the running hook may see them."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from .._asking import Asking, Awaitable, Rows, Table, asks

PAGE = 100


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


class UserRows(Rows):
    """Users: the list that it once was, and ``{"users", "total"}`` as it is today."""

    def __init__(self, users: list[UserModel], total: int) -> None:
        super().__init__(users)
        self._parts = {"users": users, "total": total}

    def __getitem__(self, key: Any) -> Any:
        return self._parts[key] if isinstance(key, str) else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns ``users`` or ``total``."""
        return self._parts.get(key, default)


class UsersTable(Table):
    """What functions ask about users."""

    @asks
    def get_user_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns a user, None when there is none; of others only what is public, unless the caller may view users."""
        data = yield "users.get", {"id": str(id)}
        return None if data is None else UserModel(**data)

    @asks
    def get_users(
        self,
        filter: dict[str, Any] | None = None,
        sort: Any = None,
        skip: int | None = None,
        limit: int | None = None,
        db: Any = None,
    ) -> Asking:
        """Returns the users that the caller may see, in the order in which they came."""
        if filter:
            raise NotImplementedError("open_webui.models.users: get_users() takes no filter here.")
        users: list[UserModel] = []
        start, total = skip or 0, 0
        while limit is None or len(users) < limit:
            most = PAGE if limit is None else min(PAGE, limit - len(users))
            page = yield "users.list", {"skip": start + len(users), "limit": most}
            users += [UserModel(**data) for data in page["users"]]
            total = page["total"]
            if len(page["users"]) < most:
                break
        return UserRows(users, total)

    @asks
    def get_users_by_user_ids(self, user_ids: list[str], db: Any = None) -> Asking:
        """Returns those of the users that there are."""
        found = Rows()
        for id in user_ids:
            data = yield "users.get", {"id": str(id)}
            if data is not None:
                found.append(UserStatusModel(**data))
        return found


Users = UsersTable()
