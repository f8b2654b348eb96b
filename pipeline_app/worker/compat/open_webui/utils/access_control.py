"""Who may do what, as functions ask it of the caller of the running hook."""

from __future__ import annotations

from typing import Any

from .._asking import Asking, asks
from .models import check_model_access

__all__ = [
    "check_model_access",
    "fill_missing_permissions",
    "get_permissions",
    "has_access",
    "has_connection_access",
    "has_permission",
]

Json = dict[str, Any]


def fill_missing_permissions(permissions: Json, default_permissions: Json) -> Json:
    """Returns permissions with the defaults where they say nothing. Changes them."""
    for name, value in default_permissions.items():
        if name not in permissions:
            permissions[name] = value
        elif isinstance(value, dict) and isinstance(permissions[name], dict):
            fill_missing_permissions(permissions[name], value)
    return permissions


@asks
def get_permissions(user_id: str, default_permissions: Json | None = None, db: Any = None) -> Asking:
    """Returns what a user may do: the defaults, since groups give permissions of the server's own kind."""
    yield from ()
    return fill_missing_permissions({}, default_permissions or {})


@asks
def has_permission(
    user_id: str, permission_key: str, default_permissions: Json | None = None, db: Any = None
) -> Asking:
    """Whether a permission such as ``chat.controls`` is given by the defaults."""
    yield from ()
    found: Any = default_permissions or {}
    for part in permission_key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return bool(found)


@asks
def has_access(
    user_id: str, type: str = "read", access_grants: Any = None, user_group_ids: Any = None, *_: Any, **given: Any
) -> Asking:
    """Whether grants let a user read or write something. Takes the older rules by kind of access, too.

    No grants are nobody's but the owner's; older rules that are None are everybody's to read.
    """
    yield from ()
    rules = given.get("access_control", access_grants)
    groups = {str(id) for id in user_group_ids or ()}
    if isinstance(rules, dict):
        allowed = rules.get(type) or {}
        members = {str(id) for id in allowed.get("user_ids") or ()}
        return str(user_id) in members or bool(groups & {str(id) for id in allowed.get("group_ids") or ()})
    if rules is None:
        return type == "read" and "access_control" in given
    return any(_grants(grant, str(user_id), groups, type) for grant in rules)


def _grants(grant: Any, user_id: str, groups: set[str], permission: str) -> bool:
    told = grant if isinstance(grant, dict) else vars(grant)
    if told.get("permission") not in (permission, "write"):
        return False
    who, kind = str(told.get("principal_id")), told.get("principal_type")
    return (kind == "user" and who in (user_id, "*")) or (kind == "group" and who in groups)


@asks
def has_connection_access(user: Any, connection: Any, user_group_ids: Any = None, *_: Any, **__: Any) -> Asking:
    """Whether a user may use a connection: administrators any, others one whose grants say so."""
    yield from ()
    role = user.get("role") if isinstance(user, dict) else getattr(user, "role", None)
    if role == "admin":
        return True
    id = user.get("id") if isinstance(user, dict) else getattr(user, "id", "")
    grants = ((connection or {}).get("config") or {}).get("access_grants") or []
    groups = {str(id) for id in user_group_ids or ()}
    return any(_grants(grant, str(id), groups, "read") for grant in grants)
