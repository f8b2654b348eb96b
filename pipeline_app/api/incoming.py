"""A body that its view reads by itself, once it knows who sends it: into a file, never whole into memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import IO, Any

from pipeline_app.errors import RequestError

AT_ONCE = 1024 * 1024
"""Bytes that are gathered before they are written, in a thread: a slow client holds none while it sends."""


class TooLarge(Exception):
    """The body is larger than its reader takes."""


class Incoming:
    """The body of one request, as the client sends it (``webui_functions.handler``)."""

    def __init__(self, receive: Callable[[], Awaitable[Any]], announced: int) -> None:
        self.announced = announced
        self._receive = receive
        self._more = True

    async def save(self, file: IO[bytes], most: int) -> int:
        """Writes the body into a file, returns its size. Raises ``TooLarge``; ``RequestError`` when it breaks off."""
        if self.announced > most:
            raise TooLarge
        size, pieces, gathered = 0, list[bytes](), 0
        while self._more:
            piece = await self._next()
            size += len(piece)
            if size > most:
                raise TooLarge
            pieces.append(piece)
            gathered += len(piece)
            if gathered >= AT_ONCE or not self._more:
                await asyncio.to_thread(file.write, b"".join(pieces))
                pieces, gathered = [], 0
        return size

    async def drain(self, most: int) -> bool:
        """Reads the rest and throws it away, so that a client gets to read a refusal; False beyond ``most`` bytes."""
        size = 0
        try:
            while self._more and size < most:
                size += len(await self._next())
        except RequestError:
            pass  # nobody is there to be answered
        return not self._more

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._more = False
            raise RequestError("The client left before its upload had arrived.", code="incomplete_body")
        self._more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece
