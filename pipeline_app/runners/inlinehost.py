"""Host calls of functions that run in the server's own process: the same door, without a socket between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from pipeline_app.errors import RequestError
from pipeline_app.runners.base import Identity
from pipeline_app.runners.requests import HostCalls
from pipeline_app.worker.hosts import Host, HostError, Params, over_from
from pipeline_app.worker.jsonable import copy
from pipeline_app.worker.threads import Threads

_threads = Threads("host calls")


class InlineHost(Host):
    """The server as one call of an inline function may ask it."""

    def __init__(self, host_calls: HostCalls, identity: Identity) -> None:
        self._host_calls = host_calls
        self._identity = identity
        self._home = asyncio._get_running_loop()
        self._open: set[AsyncGenerator[Any, None]] = set()

    async def call(self, method: str, params: Params) -> Any:
        answer = await self._begin(method, params)
        return [part async for part in _told(answer)] if isinstance(answer, AsyncIterator) else copy(answer)

    @property
    def is_open(self) -> bool:
        """Whether answers come in parts that nobody has taken to the end."""
        return bool(self._open)

    async def end(self) -> None:
        """Stops answers that come in parts, for the call that asked is over; but not those that are being taken."""
        for pieces in [pieces for pieces in self._open if not getattr(pieces, "ag_running", False)]:
            await pieces.aclose()

    def call_sync(self, method: str, params: Params) -> Any:
        """Blocks the thread, also the loop's own: the answer comes from another thread with a loop of its own."""
        done = threading.Event()
        answers: list[Any] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                answers.append(asyncio.run(self.call(method, params)))
            except BaseException as error:  # belongs to whoever waits
                errors.append(error)
            done.set()

        _threads.submit(ask)
        done.wait()
        if errors:
            raise errors[0]
        return answers[0]

    async def parts(self, method: str, params: Params) -> AsyncIterator[Any]:
        async with aclosing(over_from(self._home or asyncio.get_running_loop(), self._parts(method, params))) as pieces:
            async for piece in pieces:
                yield piece

    async def _parts(self, method: str, params: Params) -> AsyncGenerator[Any, None]:
        answer = await self._begin(method, params)
        if not isinstance(answer, AsyncIterator):
            yield copy(answer)
            return
        async with aclosing(_told(answer)) as pieces:
            self._open.add(pieces)
            try:
                async for piece in pieces:
                    yield copy(piece)
            finally:
                self._open.discard(pieces)

    async def _begin(self, method: str, params: Params) -> Any:
        try:
            return await self._host_calls.call(self._identity, method, copy(params))
        except RequestError as error:
            raise HostError(error.message) from None


async def _told(parts: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """Yields the parts, and says what went wrong as author code hears it."""
    try:
        async for part in parts:
            yield part
    except RequestError as error:
        raise HostError(error.message) from None
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()
