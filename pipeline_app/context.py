"""What a call is told: the server's half of the special arguments, as plain data.

The worker makes the arguments that a hook asks for out of this (``worker/arguments.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline_app.worker.request import CREDENTIALS

if TYPE_CHECKING:
    from pipeline_app.snapshot import Person

Json = dict[str, Any]

OWNED = frozenset(
    {"user_id", "chat_id", "message_id", "session_id", "model", "model_id", "filter_ids", "direct", "task", "task_body"}
)
"""Keys of the metadata that belong to the server: what a hook does to them stays in that hook."""

CONSUMED = frozenset(
    {
        "background_tasks",
        "chat_id",
        "chat_variables",
        "features",
        "files",
        "filter_ids",
        "id",
        "interactive",
        "background",
        "metadata",
        "model_item",
        "params",
        "session_id",
        "skill_ids",
        "task",
        "terminal_id",
        "tool_ids",
        "tool_servers",
        "user_message",
        "variables",
    }
)
"""Keys of a chat request that are for the server: a pipe finds them in its special arguments, not in the body."""


@dataclass(slots=True)
class Caller:
    """Where a request came from: who, and the HTTP request without its credentials."""

    person: Person
    request_id: str
    http: Json = field(default_factory=dict)


def http_of(scope: Any) -> Json:
    """Returns the data that ``__request__`` is made from, of an ASGI scope."""
    headers = []
    for name, value in scope["headers"]:
        plain = name.decode("latin-1")
        headers.append([plain, CREDENTIALS.get(plain.lower()) or value.decode("latin-1")])
    host = next((value for name, value in headers if name == "host"), None)
    if host is None:
        server = scope.get("server") or ("127.0.0.1", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    base = f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '')}/"
    query = scope.get("query_string", b"").decode("latin-1")
    return {
        "method": scope["method"],
        "url": base.rstrip("/") + scope["path"] + (f"?{query}" if query else ""),
        "base_url": base,
        "headers": headers,
        "client": list(scope["client"]) if scope.get("client") else None,
    }


def metadata_of(body: Json, person: Person, model: Json, user_agent: str) -> Json:
    """Returns ``__metadata__`` of a chat request: the keys authors rely on, present even when null."""
    params = body.get("params") if isinstance(body.get("params"), dict) else {}
    client: Json = body["metadata"] if isinstance(body.get("metadata"), dict) else {}
    return {
        **client,
        "user_id": person.id,
        "chat_id": body.get("chat_id") or "",
        "message_id": body.get("id"),
        "session_id": body.get("session_id"),
        "user_message": body.get("user_message"),
        "user_message_id": (body.get("user_message") or {}).get("id")
        if isinstance(body.get("user_message"), dict)
        else None,
        "assistant_message_id": body.get("assistant_message_id"),
        "regeneration_message_id": body.get("regeneration_message_id"),
        "filter_ids": body.get("filter_ids") or [],
        "tool_ids": body.get("tool_ids"),
        "tool_servers": body.get("tool_servers"),
        "skill_ids": body.get("skill_ids") or [],
        "terminal_id": body.get("terminal_id"),
        "files": body.get("files"),
        "features": body.get("features") or {},
        "variables": body.get("variables") or {},
        "chat_variables": body.get("chat_variables") or {},
        "model": model,
        "direct": False,
        "params": params,
        "user_agent": user_agent,
    }


def context_of(caller: Caller, metadata: Json, model: Json, *, task: str | None = None, task_body: Any = None) -> Json:
    """Returns the context of the hooks of one request; ``id`` is set per hook."""
    return {
        "user": caller.person.user,
        "metadata": metadata,
        "model": model,
        "files": metadata.get("files") or [],
        "chat_id": metadata["chat_id"],
        "message_id": metadata["message_id"],
        "session_id": metadata["session_id"],
        "oauth_token": None,
        "task": task,
        "task_body": task_body,
        "tools": {},
        "features": metadata.get("features") or {},
        "request": caller.http,
        "id": "",
    }


def adopt(metadata: Json, left: Json | None) -> Json:
    """Returns the metadata as a hook left it, with the server's own keys as they were."""
    if left is None or left == metadata:
        return metadata
    return {
        **{name: value for name, value in left.items() if name not in OWNED},
        **{name: metadata[name] for name in OWNED if name in metadata},
    }
