"""``__request__`` and ``__app__``: the HTTP request as a Starlette object, without credentials."""

from __future__ import annotations

import asyncio
import functools
import importlib
import time
from collections.abc import Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import urlsplit

from .hosts import current_host
from .jsonable import copy

HIDDEN = "hidden"
FRESH = 5.0
"""Seconds for which a call that looks at the models again gets the same."""
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
    """The settings that older functions read; every upper-case name is there, and None until somebody sets it."""

    def __getattr__(self, name: str) -> Any:
        if name.isupper():
            return None
        raise AttributeError(name)


class Models(MutableMapping[str, Any]):
    """The models that the caller of the running hook may use, by id: asked for when somebody looks.

    What a function puts there itself is there for it, and for nobody else.
    """

    def __init__(self) -> None:
        self._own: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self._of: Any = None
        self._until = 0.0

    def _all(self) -> dict[str, Any]:
        host, now = current_host(), time.monotonic()
        if self._of is not host or now > self._until:
            self._known = {model["id"]: model for model in host.call_sync("models.available", {})}
            self._of, self._until = host, now + FRESH
        return {**self._known, **self._own}

    def __getitem__(self, id: str) -> Any:
        return self._all()[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __setitem__(self, id: str, model: Any) -> None:
        self._own[id] = model

    def __delitem__(self, id: str) -> None:
        del self._own[id]


class Tokens:
    """``oauth_manager``: tokens of users, of which none is given out here; ``__oauth_token__`` has the caller's."""

    async def get_oauth_token(self, user_id: str, session_id: str) -> None:
        """Returns nothing."""


class State(SimpleNamespace):
    """``app.state``: what functions read from Open WebUI's application, and what a function puts there."""

    @property
    def main_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that runs."""
        return asyncio.get_running_loop()

    @property
    def CHAT_COMPLETION_HANDLER(self) -> Any:
        """Open WebUI's own handler of chats."""
        return importlib.import_module("open_webui.main").generate_chat_completions


async def _no_embedding(*args: Any, **kwargs: Any) -> NoReturn:
    raise NotImplementedError("app.state.EMBEDDING_FUNCTION needs an engine for embeddings; not available here.")


class App:
    """The application as functions know it: ``state`` and ``url_path_for``. One for all calls of a process."""

    def __init__(self) -> None:
        self.state = State(
            MODELS=Models(),
            BASE_MODELS=[],
            OPENAI_MODELS={},
            OLLAMA_MODELS={},
            TOOL_SERVERS=[],
            TERMINAL_SERVERS=[],
            FUNCTIONS={},
            FUNCTION_CONTENTS={},
            TOOLS={},
            TOOL_CONTENTS={},
            EMBEDDING_FUNCTION=_no_embedding,
            RERANKING_FUNCTION=None,
            ef=None,
            rf=None,
            redis=None,
            instance_id="functions",
            WEBUI_NAME="Open WebUI",
            oauth_manager=Tokens(),
            oauth_client_manager=Tokens(),
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


@functools.cache
def application() -> App:
    """Returns the application of this process: ``request.app`` and ``open_webui.main.app``."""
    return App()


def build(context: dict[str, Any]) -> Any:
    """Returns the request of a call; None when there was no HTTP request, or Starlette is not installed here."""
    data = context.get("request")
    if data is None:
        return None
    try:
        from starlette.requests import Request
    except ImportError:
        return None
    state = {"metadata": copy(context.get("metadata") or {}), "direct": False}
    return Request(_scope(data, application(), state), _receiver())


def _scope(data: dict[str, Any], app: App, state: dict[str, Any]) -> dict[str, Any]:
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
        "state": state,
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
