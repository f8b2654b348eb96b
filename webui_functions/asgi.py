"""The ASGI application: a thin handler for the API, Django's own for the rest, and the server's life.

``lifespan`` starts and stops what runs beside requests; without it (a server that doesn't speak it)
requests are served all the same.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui_functions.settings")
if not apps.ready:  # a second setup would configure logging anew, over streams that are others' by then
    django.setup(set_prefix=False)

from django.core.handlers.asgi import ASGIHandler  # settings first

from pipeline_app.runners.sandbox import TooLittleIsolation
from pipeline_app.runtime import engine
from webui_functions.handler import APIHandler

logger = logging.getLogger(__name__)

API_PATHS = ("/v1/", "/api/", "/healthz", "/readyz", "/health", "/metrics")


@contextmanager
def _settled() -> Iterator[None]:
    """What is here once the server has started stays: no collection looks at all of it again, which takes long enough
    for requests to notice. Memory that only starting needed goes back to the system."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
    try:
        yield
    finally:
        gc.unfreeze()


class Application:
    """Chooses the handler by path."""

    def __init__(self) -> None:
        self.api = APIHandler()
        self.pages = ASGIHandler()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path") or "")
            handler = self.api if path.startswith(API_PATHS) or path in {"/v1", "/api"} else self.pages
            await handler(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            # A websocket is refused before it is accepted: the server answers 403.
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Any, send: Any) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                await stack.enter_async_context(engine.serving())
            except TooLittleIsolation as error:
                logger.error("The server does not start. %s", error)
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            except Exception as error:
                logger.exception("The server can't start")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            stack.enter_context(_settled())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
