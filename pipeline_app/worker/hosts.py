"""Host calls: what runs beside author code may ask of the server, from the loop, from any thread, from any other loop.

Who asks is never said here. The server knows which call of which function runs, and for whom.
"""

from __future__ import annotations

import _thread
import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from .jsonable import jsonable
from .protocol import Reader, TooLong, encode
from .scope import current

Params = dict[str, Any] | list[Any]

# Taken now: author code may put something else in their place.
_write, _read, _exit = os.write, os.read, os._exit
CHUNK = 256 * 1024
MOST_ASKED = 16 * 1024 * 1024
"""How many bytes the parameters of a host call may have."""
MOST_ANSWERED = 2**31 - 1
SIP = 0.25
"""Seconds after which a waiting thread looks up, so that its call can be interrupted."""


class HostError(Exception):
    """The server refused a host call, or could not answer it; says why."""


class Host(ABC):
    """The server, as one call of a function may ask it."""

    @abstractmethod
    async def call(self, method: str, params: Params) -> Any:
        """Returns the answer to a host call, in JSON types. Raises ``HostError``."""

    @abstractmethod
    def call_sync(self, method: str, params: Params) -> Any:
        """The same for synchronous code; blocks the thread."""

    @abstractmethod
    def parts(self, method: str, params: Params) -> AsyncIterator[Any]:
        """Yields the answer to a host call piece by piece. Raises ``HostError``."""


async def over_from(home: asyncio.AbstractEventLoop, pieces: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """Yields what comes piece by piece on its loop, to that loop and to any other; it ends there when it ends here."""
    if asyncio.get_running_loop() is home:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
        return
    missing = object()

    async def following() -> Any:
        return await anext(pieces, missing)

    try:
        while True:
            piece = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(following(), home))
            if piece is missing:
                return
            yield piece
    finally:
        if not home.is_closed():
            asyncio.run_coroutine_threadsafe(pieces.aclose(), home)


def _nobody() -> Host | None:
    return None


_fallback = _nobody


def fall_back_on(found: Callable[[], Host | None]) -> None:
    """Says whom code may ask that runs outside of every call's context, such as in a thread of the author's."""
    global _fallback
    _fallback = found


def current_host() -> Host:
    """Returns the server as the running call may ask it. Raises ``HostError`` outside of a call."""
    scope = current.get()
    host = scope.host if scope is not None else _fallback()
    if host is None:
        raise HostError("The server can only be asked while a hook runs, by code that belongs to its call.")
    return host


async def call(method: str, params: Params) -> Any:
    """Returns the server's answer to a host call of the running call. Raises ``HostError``."""
    return await current_host().call(method, params)


def call_sync(method: str, params: Params) -> Any:
    """The same for synchronous code; blocks the thread."""
    return current_host().call_sync(method, params)


def parts(method: str, params: Params) -> AsyncIterator[Any]:
    """Yields the server's answer to a host call of the running call piece by piece. Raises ``HostError``."""
    return current_host().parts(method, params)


# --- How a worker asks ---------------------------------------------------------------------------------


def _asked(message: list[Any]) -> bytes:
    """Returns the frame of a host call. Raises ``HostError`` for parameters that are too much."""
    message[-1] = jsonable(message[-1])
    try:
        return encode(message, MOST_ASKED)
    except TooLong:
        raise HostError(f"The parameters of {message[-2]} are longer than {MOST_ASKED // 1024**2} MB.") from None


def _answered(ok: Any, value: Any) -> Any:
    if ok:
        return value
    raise HostError(str(value.get("message") if isinstance(value, dict) else value))


class SyncLine:
    """Blocking host calls over a socket of their own, so that they work also where the loop's own thread waits.

    The answers are read by a thread that is started on first use: it is interrupted by nobody, while a thread
    that waits for its answer may be. The worker ends with the connection.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = _thread.allocate_lock()
        self._numbers = 0
        self._waiting: dict[int, tuple[_thread.LockType, list[Any]]] = {}
        self._reading = False

    def start(self) -> None:
        """Begins to read, and so to notice that the server has gone even while author code holds the loop."""
        if not self._reading:
            self._reading = True
            _thread.start_new_thread(self._keep_reading, ())

    def ask(self, call_id: int, method: str, params: Params) -> Any:
        """Returns the answer to a host call within call ``call_id`` (0: none). Raises ``HostError``."""
        done = _thread.allocate_lock()
        done.acquire()
        answer: list[Any] = []
        with self._lock:
            self.start()
            self._numbers += 1
            number = self._numbers
            frame = _asked([number, call_id, method, params])
            self._waiting[number] = done, answer
            while frame:
                frame = frame[_write(self._fd, frame) :]
        try:
            while not done.acquire(timeout=SIP):
                pass
        finally:
            self._waiting.pop(number, None)
        return _answered(*answer)

    def _keep_reading(self) -> None:
        reader = Reader(MOST_ANSWERED, None)
        while data := self._received():
            for _, (number, ok, value) in reader.feed(data):
                waiting = self._waiting.pop(number, None)
                if waiting is not None:
                    waiting[1].extend((ok, value))
                    waiting[0].release()
        _exit(0)

    def _received(self) -> bytes:
        try:
            return _read(self._fd, CHUNK)
        except OSError:
            return b""


class Requests:
    """The host calls under way on the loop's own connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[bytes], None]) -> None:
        self.loop = loop
        self._send = send
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pieces: dict[int, asyncio.Queue[tuple[int, Any]]] = {}

    async def ask(self, call_id: int, method: str, params: Params) -> Any:
        """Returns the answer to a host call within call ``call_id``. On the loop. Raises ``HostError``."""
        number, future = self._begin(call_id, method, params)
        try:
            return await future
        finally:
            self._forget(number, future)

    async def parts(self, call_id: int, method: str, params: Params) -> AsyncGenerator[Any, None]:
        """Yields the pieces of an answer; the server sends on as they are taken."""
        number, future = self._begin(call_id, method, params)
        pieces = self._pieces[number] = asyncio.Queue()
        future.add_done_callback(lambda _: pieces.put_nowait((0, None)))
        try:
            while True:
                size, piece = await pieces.get()
                if not size:
                    future.result()
                    return
                yield piece
                self._send(encode(["take", number, size]))
        finally:
            del self._pieces[number]
            self._forget(number, future)

    def reply(self, number: int, ok: Any, value: Any) -> None:
        """Takes the server's answer; nobody may be waiting any more."""
        future = self._waiting.get(number)
        if future is not None and not future.done():
            try:
                future.set_result(_answered(ok, value))
            except HostError as error:
                future.set_exception(error)

    def part(self, number: int, value: Any, size: int) -> None:
        """Takes a piece of an answer."""
        pieces = self._pieces.get(number)
        if pieces is not None:
            pieces.put_nowait((size, value))

    def _forget(self, number: int, future: asyncio.Future[Any]) -> None:
        """Waits no longer for an answer; one that has not come is not wanted any more."""
        del self._waiting[number]
        if future.cancelled() or not future.done():
            future.cancel()
            self._send(encode(["drop", number]))

    def _begin(self, call_id: int, method: str, params: Params) -> tuple[int, asyncio.Future[Any]]:
        self._numbers += 1
        number = self._numbers
        self._send(_asked(["host", number, call_id, method, params]))
        future = self._waiting[number] = self.loop.create_future()
        return number, future


class WorkerHost(Host):
    """The server as one call in a worker may ask it."""

    def __init__(self, call_id: int, requests: Requests, line: SyncLine) -> None:
        self.call_id = call_id
        self._requests = requests
        self._line = line

    async def call(self, method: str, params: Params) -> Any:
        asking = self._requests.ask(self.call_id, method, params)
        home = self._requests.loop
        if asyncio.get_running_loop() is home:
            return await asking
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, home))

    def call_sync(self, method: str, params: Params) -> Any:
        return self._line.ask(self.call_id, method, params)

    async def parts(self, method: str, params: Params) -> AsyncIterator[Any]:
        async with aclosing(
            over_from(self._requests.loop, self._requests.parts(self.call_id, method, params))
        ) as pieces:
            async for piece in pieces:
                yield piece
