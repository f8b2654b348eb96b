"""Host calls of functions that run in the server's own process: the same door, without a socket between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from pipeline_app.errors import RequestError
from pipeline_app.runners.base import Identity
from pipeline_app.runners.requests import HostCalls
from pipeline_app.worker.hosts import Host, HostError, Params
from pipeline_app.worker.jsonable import copy
from pipeline_app.worker.threads import Threads

_threads = Threads("host calls")


class InlineHost(Host):
    """The server as one call of an inline function may ask it."""

    def __init__(self, host_calls: HostCalls, identity: Identity) -> None:
        self._host_calls = host_calls
        self._identity = identity

    async def call(self, method: str, params: Params) -> Any:
        answer = await self._begin(method, params)
        return [part async for part in _told(answer)] if isinstance(answer, AsyncIterator) else copy(answer)

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
        answer = await self._begin(method, params)
        if not isinstance(answer, AsyncIterator):
            yield copy(answer)
            return
        async for part in _told(answer):
            yield part

    async def _begin(self, method: str, params: Params) -> Any:
        try:
            return await self._host_calls.call(self._identity, method, copy(params))
        except RequestError as error:
            raise HostError(error.message) from None


async def _told(parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yields the parts, and says what went wrong as author code hears it."""
    try:
        async for part in parts:
            yield part
    except RequestError as error:
        raise HostError(error.message) from None
