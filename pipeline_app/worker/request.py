"""``__request__`` and ``__app__``: the HTTP request as a Starlette object, without credentials."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from .jsonable import copy

HIDDEN = "hidden"
CREDENTIALS = {
    "authorization": f"Bearer {HIDDEN}",
    "cookie": f"token={HIDDEN}",
    "x-api-key": HIDDEN,
    "proxy-authorization": HIDDEN,
}
PATHS = {
    "get_file_content_by_id": "/api/v1/files/{id}/content",
    "get_html_file_content_by_id": "/api/v1/files/{id}/content/html",
    "get_file_by_id": "/api/v1/files/{id}",
    "get_file_data_content_by_id": "/api/v1/files/{id}/data/content",
    "get_model_profile_image": "/api/v1/models/model/profile/image",
    "get_user_profile_image_by_id": "/api/v1/users/{user_id}/profile/image",
}


class Config:
    """The settings that older functions read; every upper-case name is there and None."""

    def __getattr__(self, name: str) -> Any:
        if name.isupper():
            return None
        raise AttributeError(name)


class State(SimpleNamespace):
    """``app.state``: what functions read from Open WebUI's application, and whatever they put there during a call."""


class App:
    """The application as functions know it: ``state`` and ``url_path_for``."""

    def __init__(self, context: dict[str, Any]) -> None:
        self.state = State(
            MODELS=copy(context.get("models") or {}),
            BASE_MODELS=[],
            OPENAI_MODELS={},
            OLLAMA_MODELS={},
            TOOL_SERVERS=[],
            TERMINAL_SERVERS=[],
            FUNCTIONS={},
            TOOLS={},
            EMBEDDING_FUNCTION=None,
            RERANKING_FUNCTION=None,
            redis=None,
            config=Config(),
        )

    def url_path_for(self, name: str, /, **parameters: Any) -> Any:
        """Returns the path of a named endpoint. Raises Starlette's ``NoMatchFound`` for a name that is unknown."""
        from starlette.datastructures import URLPath
        from starlette.routing import NoMatchFound

        try:
            return URLPath(path=PATHS[name].format(**parameters), protocol="http")
        except KeyError:
            raise NoMatchFound(name, parameters) from None


def build(context: dict[str, Any]) -> Any:
    """Returns the request of a call; None when there was no HTTP request, or Starlette is not installed here."""
    data = context.get("request")
    if data is None:
        return None
    try:
        from starlette.requests import Request
    except ImportError:
        return None
    return Request(_scope(data, App(context)), _receiver())


def _scope(data: dict[str, Any], app: App) -> dict[str, Any]:
    url = urlsplit(str(data.get("url") or "http://localhost/"))
    base = urlsplit(str(data.get("base_url") or f"{url.scheme}://{url.netloc}/"))
    root = base.path.rstrip("/")
    headers = [(name.lower(), CREDENTIALS.get(name.lower(), value)) for name, value in data.get("headers") or ()]
    if not any(name == "host" for name, _ in headers):
        headers.append(("host", base.netloc))
    client = data.get("client")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": data.get("method") or "GET",
        "scheme": base.scheme or "http",
        "server": (base.hostname or "localhost", base.port or (443 if base.scheme == "https" else 80)),
        "client": (client[0], client[1]) if client else None,
        "path": url.path or "/",
        "raw_path": url.path.encode("utf-8", "replace"),
        "root_path": root,
        "query_string": url.query.encode("utf-8", "replace"),
        "headers": [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers],
        "app": app,
        "state": {},
    }


def _receiver() -> Any:
    """Returns a ``receive`` for a request whose body was read by the server: empty once, then nothing, ever."""
    told = False

    async def receive() -> dict[str, Any]:
        nonlocal told
        # ``is_disconnected`` looks for a message in a scope that is cancelled already: it must not take this one.
        await asyncio.sleep(0)
        if told:
            await asyncio.get_running_loop().create_future()
        told = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive
