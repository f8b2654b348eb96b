"""What functions may ask about users and groups, and what a function that may change users can change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.contrib.auth.models import Group

from functions_app.fields import storable
from functions_app.models import User
from pipeline_app.errors import RequestError
from pipeline_app.hostcalls.declared import LIMIT, SKIP, Asked, HostCall, Json, Parameter, facts, text, uuid_of
from pipeline_app.snapshot import Person

PUBLIC_FIELDS = ("id", "username", "role", "name", "profile_image_url", "last_active_at", "updated_at", "created_at")
"""What anybody may know of somebody else."""

VIEW, CHANGE, VIEW_GROUPS = "functions_app.view_user", "functions_app.change_user", "auth.view_group"
CHANGEABLE: Mapping[str, Parameter] = MappingProxyType(
    {
        "name": text(300),
        "profile_image_url": text(100_000),
        "timezone": text(100),
        "info": facts(),
        "settings": facts(),
    }
)
"""What a function may change of a user, and what it must be: nothing that decides who they are or what they may."""


async def _user(asked: Asked, id: str) -> Json | None:
    """Returns a user as Open WebUI's ``UserModel`` has it; None when there is none."""
    if id == asked.person.id:
        return asked.person.user
    key = uuid_of(id)
    if key is None:
        return None
    found = await asked.database(User.objects.filter(pk=key).first)
    return None if found is None else _shown(found, asked.person)


async def _found(asked: Asked, email: str) -> Json | None:
    """Returns the user with an address: the person themselves, anybody for those who may view users."""
    if email and email.casefold() == str(asked.person.user["email"]).casefold():
        return asked.person.user
    if not email or "\0" in email or not asked.person.can(VIEW):
        return None
    found = await asked.database(User.objects.filter(email__iexact=email).order_by("date_joined", "pk").first)
    return None if found is None else _shown(found, asked.person)


async def _users(asked: Asked, skip: int, limit: int) -> Json:
    """Returns ``{"users": [...], "total"}`` for those who may view users; anybody else sees themselves."""
    if not asked.person.can(VIEW):
        return {"users": [asked.person.user][skip : skip + limit], "total": 1}

    def read() -> Json:
        rows = User.objects.order_by("date_joined", "pk")
        return {"users": [_shown(row, asked.person) for row in rows[skip : skip + limit]], "total": rows.count()}

    return await asked.database(read)


def _shown(user: User, to: Person) -> Json:
    wire: Json = user.to_wire()
    if to.can(VIEW) or to.id == wire["id"]:
        return wire
    return {**dict.fromkeys(wire), "email": "", **{name: wire[name] for name in PUBLIC_FIELDS}}


async def _change(asked: Asked, id: str, changes: Json) -> Json | None:
    """Changes a user, and returns them; None when there is none. Whoever may change users changes anybody.

    Settings are merged, their ``ui`` field by field, where None takes a field away.
    """
    for name, value in changes.items():
        if name not in CHANGEABLE:
            raise RequestError(
                f"A function can't change '{name[:100]}' of a user; it can change {', '.join(CHANGEABLE)}."
            )
        if not CHANGEABLE[name].fits(value):
            raise RequestError(f"'{name}' of a user must be {CHANGEABLE[name].words}.")
    if id != asked.person.id:
        asked.needs(CHANGE, "change other users")
    key = uuid_of(id)
    return None if key is None else await asked.database(_changed, key, changes, asked.person)


def _changed(key: Any, changes: Json, person: Person) -> Json | None:
    user = User.objects.filter(pk=key).first()
    if user is None:
        return None
    names = set()
    for name, value in changes.items():
        if name == "name":
            first, _, last = storable(value).strip().partition(" ")
            user.first_name, user.last_name = first[:150], last[:150]
            names |= {"first_name", "last_name"}
            continue
        if name == "settings":
            value = _merged(user.settings if isinstance(user.settings, dict) else {}, value)
        setattr(user, name, storable(value))
        names.add(name)
    if names:
        user.save(update_fields=[*sorted(names), "updated_at"])
    return _shown(user, person)


def _merged(settings: Json, changes: Json) -> Json:
    merged = {**settings, **changes}
    shown, new = settings.get("ui"), changes.get("ui")
    if isinstance(shown, dict) and isinstance(new, dict):
        merged["ui"] = {name: value for name, value in {**shown, **new}.items() if value is not None}
    return merged


# --- Groups --------------------------------------------------------------------------------------------


async def _groups(asked: Asked, user_id: str) -> list[Json]:
    """Returns groups by name: those of a user, or all. People who may not view groups are told of their own."""
    own = user_id == asked.person.id or not asked.person.can(VIEW_GROUPS)
    if own and user_id and user_id != asked.person.id:
        return []
    key = uuid_of(asked.person.id if own else user_id)
    if user_id and key is None:
        return []

    def read() -> list[Json]:
        rows = Group.objects.order_by("name")
        return [{"id": str(row.pk), "name": row.name} for row in (rows if key is None else rows.filter(user=key))]

    return await asked.database(read)


async def _members(asked: Asked, id: str) -> list[str]:
    """Returns the ids of who is in a group, for those who may view users."""
    if not id.isascii() or not id.isdigit() or len(id) > 18 or not asked.person.can(VIEW):
        return []

    def read() -> list[str]:
        rows = User.objects.filter(groups=int(id)).order_by("date_joined", "pk")
        return [str(key) for key in rows.values_list("pk", flat=True)]

    return await asked.database(read)


METHODS: Mapping[str, HostCall] = MappingProxyType(
    {
        "users.get": HostCall("users.read", None, {"id": text()}, _user),
        "users.find": HostCall("users.read", None, {"email": text()}, _found),
        "users.list": HostCall("users.read", None, {"skip": SKIP, "limit": LIMIT}, _users),
        "users.change": HostCall("users.write", None, {"id": text(), "changes": facts()}, _change),
        "groups.list": HostCall("users.read", None, {"user_id": text(default="")}, _groups),
        "groups.members": HostCall("users.read", None, {"id": text()}, _members),
    }
)
