"""Headers of requests to others that say for whom they are made."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

Headers = dict[str, str]


def _of(thing: Any, name: str) -> str:
    value = thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
    return "" if value is None else str(value)


def include_user_info_headers(headers: Headers, user: Any = None, *, request: Any = None) -> Headers:
    """Returns headers with the user's name, id, email and role; as they are where there is no user."""
    if user is None:
        return headers
    return {
        **headers,
        "X-OpenWebUI-User-Name": quote(_of(user, "name"), safe=" "),
        "X-OpenWebUI-User-Id": _of(user, "id"),
        "X-OpenWebUI-User-Email": _of(user, "email"),
        "X-OpenWebUI-User-Role": _of(user, "role"),
    }


async def get_custom_headers(
    custom_headers: Any, user: Any = None, metadata: Any = None, request: Any = None
) -> Headers:
    """Returns headers with ``{{USER_ID}}``, ``{{CHAT_ID}}`` and the like filled in."""
    told = metadata or {}
    values = {f"USER_{name.upper()}": _of(user, name) for name in ("id", "name", "email", "role")}
    values |= {name.upper(): str(told.get(name) or "") for name in ("chat_id", "message_id", "session_id")}

    def fill(text: str) -> str:
        return re.sub(r"\{\{(\w+)\}\}", lambda found: values.get(found.group(1), found.group(0)), text)

    return {str(name): fill(str(value)) for name, value in (custom_headers or {}).items()}
