"""The load: HTTP/1.1 connections that are kept alive, each with one request under way at a time.

Requests are bytes made beforehand and answers are only looked at as far as their end, their status and
their number of frames: the generator must not be what is measured. How busy it was is part of the result.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

FRAME = b"data: {"
END_OF_CHUNKS = b"\r\n0\r\n\r\n"
CHUNKED = -1
CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass(frozen=True)
class Request:
    """One request, sent again and again. ``frames`` is how many objects its stream has; None for a plain answer."""

    raw: bytes
    frames: int | None = None
    status: int = 200


@dataclass
class Result:
    """What one load saw: seconds of every answer, and of every stream's first frame."""

    requests: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_frames: list[float] = field(default_factory=list)
    busy: float = 0.0
    """The share of a core that the load generator used itself."""

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class WrongAnswer(Exception):
    """A server under test answered something else than it should; its figures mean nothing."""


def post(path: str, body: Any, key: str = "") -> bytes:
    """Returns the bytes of a request with a JSON body."""
    return _request("POST", path, key, json.dumps(body, separators=(",", ":")).encode())


def get(path: str, key: str = "") -> bytes:
    return _request("GET", path, key, b"")


def _request(method: str, path: str, key: str, body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value that so many of all do not exceed; NaN without values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(len(ordered) * share) - 1))]


class _Connection(asyncio.Protocol):
    """Sends the next request when the last was answered in full, until told to stop."""

    def __init__(self, request: Request, result: Result) -> None:
        self.request = request
        self.result = result
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.stopping = False
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._whole = 0
        self._sent = 0.0
        self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._whole = 0
        self._first = 0.0
        self._buffer.clear()
        self._sent = time.perf_counter()
        assert self._transport is not None
        self._transport.write(self.request.raw)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._whole:
            head = buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = CONTENT_LENGTH.search(buffer, 0, head + 2)
            self._whole = CHUNKED if length is None else head + 4 + int(length.group(1))
        if self._whole != CHUNKED:
            if len(buffer) >= self._whole:
                self._answered()
            return
        if not self._first and FRAME in buffer:
            self._first = time.perf_counter()
        if buffer.endswith(END_OF_CHUNKS):
            self._answered()

    def _answered(self) -> None:
        now = time.perf_counter()
        buffer, request, result = self._buffer, self.request, self.result
        if not buffer.startswith(b"HTTP/1.1 %d " % request.status):
            self._fail(f"status {request.status} was expected: {bytes(buffer[:600])!r}")
            return
        if request.frames is not None:
            count = buffer.count(FRAME)
            if count != request.frames:
                self._fail(f"a stream of {request.frames} frames was expected, not {count}: {bytes(buffer[-600:])!r}")
                return
            result.first_frames.append(self._first - self._sent)
        result.requests += 1
        result.latencies.append(now - self._sent)
        if self.stopping:
            self._end()
        else:
            self._send()

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(bytes(self._buffer))
        assert self._transport is not None
        self._transport.close()

    def _fail(self, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(WrongAnswer(message))
        assert self._transport is not None
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(WrongAnswer(f"the server closed the connection: {bytes(self._buffer[-300:])!r}"))


async def load(port: int, request: Request, connections: int, seconds: float) -> Result:
    """Keeps so many connections busy for so long, and returns what they saw. Raises ``WrongAnswer``."""
    result = Result()
    loop = asyncio.get_running_loop()
    cpu, started = time.process_time(), time.perf_counter()
    protocols = [
        (await loop.create_connection(lambda: _Connection(request, result), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await _stop_after(protocols, seconds)
    result.seconds = time.perf_counter() - started
    result.busy = (time.process_time() - cpu) / result.seconds
    return result


async def _stop_after(protocols: list[_Connection], seconds: float) -> None:
    waiting = [protocol.done for protocol in protocols]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for protocol in protocols:
        protocol.stopping = True
    await asyncio.gather(*waiting)


async def requests(port: int, request: Request, count: int, connections: int) -> Result:
    """Sends a number of requests over some connections, and returns what they saw. Raises ``WrongAnswer``."""
    result = Result()
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    protocols = [
        (await loop.create_connection(lambda: _Connection(request, result), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    while result.requests < count - connections and not any(protocol.done.done() for protocol in protocols):
        await asyncio.sleep(0.02)
    await _stop_after(protocols, 0)
    result.seconds = time.perf_counter() - started
    return result


async def once(port: int, request: Request) -> tuple[bytes, bytes, float]:
    """Sends one request; returns head and body (chunks joined) of the answer, and the seconds it took."""
    result = Result()
    _, protocol = await asyncio.get_running_loop().create_connection(
        lambda: _Connection(request, result), "127.0.0.1", port
    )
    protocol.stopping = True
    raw = await protocol.done
    head, _, body = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = _joined(body)
    return head, body, result.latencies[0]


def _joined(chunks: bytes) -> bytes:
    """Returns a body without its chunk sizes."""
    parts = []
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        parts.append(rest[:length])
        chunks = rest[length + 2 :]
    return b"".join(parts)
