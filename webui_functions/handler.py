"""The handler of the API paths: Django's requests and views without the stock handler's thread hops.

The stock handler runs signal receivers, sync middleware and closing in threads, which costs more than
a small request itself. Here the chain is ``API_MIDDLEWARE``, all of it async, and the view is awaited.
"""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from io import BytesIO
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import DisallowedHost, ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver
from django.utils.module_loading import import_string

from pipeline_app.api.base import error_body, failure, oversized
from pipeline_app.api.incoming import Incoming
from webui_functions.http10 import ends_with_the_connection

logger = logging.getLogger(__name__)

DRAINED_MOST = 64 * 1024 * 1024
"""How many bytes of a refused body are read and thrown away, so that the client gets to read the refusal."""


class _Left(Exception):
    """The client went away while its body was read."""


def _resolved(path: str) -> ResolverMatch:
    try:
        return get_resolver().resolve(path)
    except Resolver404:
        if len(path) > 1 and path.startswith(("/api/", "/v1/")):
            # A slash too few or too many is what clients get wrong most; a redirect would lose the body of a POST.
            return get_resolver().resolve(path[:-1] if path.endswith("/") else f"{path}/")
        raise


_remembered = lru_cache(maxsize=2000)(_resolved)


def _match(path: str) -> ResolverMatch:
    """Returns the view of a path, remembered for the short ones. Raises ``Resolver404``."""
    return _remembered(path) if len(path) < 200 else _resolved(path)


def _reads_by_itself(scope: Any) -> bool:
    """Whether the view of a request reads the body by itself (``AsyncAPIView.reads_body``)."""
    if scope["method"] != "POST":
        return False
    try:
        match = _match(scope["path"].removeprefix(scope.get("root_path") or ""))
    except Resolver404:
        return False
    return getattr(getattr(match.func, "cls", None), "reads_body", False)


class APIHandler:
    """Serves one HTTP request after the other. A client that goes away cancels its view."""

    def __init__(self) -> None:
        chain: Any = self._view
        for dotted in reversed(settings.API_MIDDLEWARE):
            chain = import_string(dotted)(chain)
            if not iscoroutinefunction(chain):
                raise ImproperlyConfigured(
                    f"{dotted} in API_MIDDLEWARE can't run on the event loop: make it async-capable."
                )
        self._chain = chain

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        incoming = Incoming(receive, _length(scope)) if _reads_by_itself(scope) else None
        try:
            body = b"" if incoming else await _read(receive, settings.FUNCTIONS_MAX_BODY, _length(scope))
        except _Left:
            return
        request = ASGIRequest(scope, BytesIO(body or b""))
        request._body = body or b""  # Django's own cache of the body
        request.body_refused = body is None  # type: ignore[attr-defined]  # answered by the view, behind its middleware
        request.incoming = incoming  # type: ignore[attr-defined]
        task = asyncio.current_task()
        assert task is not None
        state = _State(task)
        # While a view reads by itself, it is the one who hears that the client left.
        watcher = None if incoming else asyncio.ensure_future(state.watch(receive))
        try:
            response = await self._chain(request)
            if incoming and not await incoming.drain(DRAINED_MOST):
                response.headers["Connection"] = "close"
            await _send(response, send, state, old=scope.get("http_version") == "1.0")
        except asyncio.CancelledError:
            if not state.left:
                raise
            task.uncancel()
        finally:
            state.answered = True
            if watcher:
                watcher.cancel()

    async def _view(self, request: ASGIRequest) -> HttpResponseBase:
        try:
            if request.body_refused:  # type: ignore[attr-defined]
                return oversized(request)
            request.get_host()
            match = _match(request.path_info)
            request.resolver_match = match
            response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        except Resolver404:
            return error_body(request, 404, f"Unknown path: {request.method} {request.path}", code="unknown_url")
        except DisallowedHost:
            return error_body(
                request, 400, "This host name is not served here; add it to ALLOWED_HOSTS.", code="bad_host"
            )
        except Exception as error:
            return failure(request, error)
        return response


class _State:
    """Whether the client is still there."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.left = False
        self.answered = False

    async def watch(self, receive: Any) -> None:
        message = await receive()
        if message["type"] == "http.disconnect" and not self.answered:
            self.left = True
            self.task.cancel()


def _length(scope: Any) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _read(receive: Any, limit: int, announced: int) -> bytes | None:
    """Returns the body; None when it is larger than ``limit``, of which nothing is kept."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Left
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    pieces, size, refused = [body], len(body), announced > limit or len(body) > limit
    while message.get("more_body", False) and (not refused or size < DRAINED_MOST):
        if refused:
            pieces.clear()
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        piece = message.get("body", b"")
        size += len(piece)
        refused = refused or size > limit
        pieces.append(piece)
    return None if refused else b"".join(pieces)


async def _send(response: HttpResponseBase, send: Any, state: _State, *, old: bool) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    headers += [(b"Set-Cookie", cookie.OutputString().encode("latin-1")) for cookie in response.cookies.values()]
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    if isinstance(response, StreamingHttpResponse):
        iterator = response._iterator  # type: ignore[attr-defined]  # past make_bytes: the views give bytes
        try:
            if old and not ends_with_the_connection(send):
                # The one way left to tell such a client where the answer ends.
                whole = b"".join([part async for part in iterator])
                headers.append((b"Content-Length", str(len(whole)).encode()))
                await send(start)
                state.answered = True
                await send({"type": "http.response.body", "body": whole, "more_body": False})
                return
            await send(start)
            async for part in iterator:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            await iterator.aclose()
        state.answered = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    assert isinstance(response, HttpResponse)
    if not response.has_header("Content-Length"):
        # Without it the server would cut the answer into chunks, which HTTP/1.0 does not know.
        headers.append((b"Content-Length", str(len(response.content)).encode()))
    await send(start)
    state.answered = True
    await send({"type": "http.response.body", "body": response.content, "more_body": False})
