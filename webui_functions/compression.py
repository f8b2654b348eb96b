"""Compresses larger JSON answers. Streams are left alone: a frame must leave when it is ready."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

WORTH_IT = 1400
"""Bytes below which an answer fits into one packet anyway."""
MAY_WAIT = 128 * 1024
"""Bytes that are compressed on the event loop; more would hold others up."""


class CompressionMiddleware:
    """``Content-Encoding: gzip`` for whole answers of clients that accept it."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[Any]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        if (
            isinstance(response, HttpResponse)
            and len(response.content) >= WORTH_IT
            and "gzip" in request.META.get("HTTP_ACCEPT_ENCODING", "")
            and not response.has_header("Content-Encoding")
        ):
            # A fixed level and time: equal answers are equal bytes.
            pack = partial(gzip.compress, response.content, compresslevel=1, mtime=0)
            packed = pack() if len(response.content) < MAY_WAIT else await asyncio.to_thread(pack)
            if len(packed) < len(response.content):
                response.content = packed
                response.headers["Content-Encoding"] = "gzip"
                response.headers["Content-Length"] = str(len(packed))
                patch_vary_headers(response, ["Accept-Encoding"])
        return response
