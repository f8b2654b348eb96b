"""What people may do, as Django's permissions under the words of this project.

The API, the admin and the commands ask for these names and for no other; who holds one is a matter of Django's users
and groups, and of ``FUNCTIONS_EVERYBODY``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

USE = "functions_app.use_function"
VIEW = "functions_app.view_function"
AUTHOR = "functions_app.change_function"
ACTIVATE = "functions_app.publish_function"
CONFIGURE = "functions_app.change_valves"
SET_POLICY = "functions_app.change_policy"
AUDIT = "pipeline_app.view_run"

ROLES: Mapping[str, str] = MappingProxyType(
    {
        USE: "call models, trigger actions, and set one's own valves",
        VIEW: "see every function with its code and history",
        AUTHOR: "write functions, try their hooks, and delete them",
        ACTIVATE: "let versions serve, and switch functions on and off",
        CONFIGURE: "set valves and the rules on them",
        SET_POLICY: "change what a function may do",
        AUDIT: "see the runs of everybody, with what functions printed and where they failed",
    }
)
"""Each permission with what it lets somebody do."""


def has(user: Any, *permissions: str) -> bool:
    """Whether a user of Django's holds one of these permissions."""
    return any(user.has_perm(permission) for permission in permissions)


def covers(user: Any, other: Any) -> bool:
    """Whether a user may everything that another one may, and so can gain nothing by acting as that one."""
    if user.is_superuser:
        return True
    return not other.is_superuser and set(other.get_all_permissions()) <= set(user.get_all_permissions())


def needed(permissions: Iterable[str]) -> str:
    """Returns the sentence for somebody who holds none of these permissions."""
    return f"This needs the permission {' or '.join(map(repr, permissions))}."
