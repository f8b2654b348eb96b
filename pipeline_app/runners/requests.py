"""What a worker asks of the server while a call runs: names, host calls, and questions to the client.

Who asks is known from the call that the message names, and from nothing else in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol

from pipeline_app.errors import RequestError
from pipeline_app.runners.addresses import Refused
from pipeline_app.runners.base import Identity
from pipeline_app.runners.calls import RemoteCall
from pipeline_app.runners.connection import Connection
from pipeline_app.worker.protocol import ASK, COMPLETE, RESOLVE, WINDOW, encode

logger = logging.getLogger(__name__)

AT_ONCE = 32
"""How many requests of one call may be under way."""
AT_ONCE_IN_ALL = 256
ASKED_AT_ONCE = 1024
"""How many questions to clients, and to models, which wait for minutes and so are not counted among the others."""


class HostCalls(Protocol):
    """Who answers host calls (``pipeline_app.hostcalls``)."""

    async def call(self, identity: Identity, method: str, params: Any) -> Any:
        """Returns JSON data, or an async iterator of it. Raises ``RequestError`` with a sentence for the author."""


class Names(Protocol):
    """Who resolves names for a worker (``egress.Broker``)."""

    async def resolve(self, name: str, port: int | None) -> list[str]:
        """Returns addresses. Raises ``Refused``."""

    def close(self) -> None:
        """Lets go of what it holds for the worker."""


class Requests:
    """The requests of one worker."""

    def __init__(self, host_calls: HostCalls | None, names: Names | None) -> None:
        self._host_calls = host_calls
        self._names = names
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._numbered: dict[int, asyncio.Task[None]] = {}
        self._windows: dict[int, _Window] = {}

    def answer(
        self, connection: Connection, n: int, call: RemoteCall | None, method: str, params: Any, *, streamed: bool
    ) -> None:
        """Begins to answer a request; the reply goes out when it is there."""

        def reply(ok: bool, value: Any) -> None:
            connection.send(["reply", n, ok, value] if streamed else [n, ok, value])

        under_way = call.requests if call is not None else set()
        # Names have limits of their own (``resolver.py``), and many threads may connect at the same time.
        alike, most = (self._asking, ASKED_AT_ONCE) if method in (ASK, COMPLETE) else (self._tasks, AT_ONCE_IN_ALL)
        if (len(under_way) >= AT_ONCE and method != RESOLVE) or len(alike) >= most:
            reply(False, {"message": "Too many requests to the server are under way at once; wait for some of them."})
            return
        asking = self._answer(connection, n, call, method, params, streamed)
        task = asyncio.get_running_loop().create_task(asking)
        for tasks in (alike, under_way):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if streamed and n not in self._numbered:
            self._numbered[n] = task
            task.add_done_callback(lambda _: self._numbered.pop(n, None))

    def drop(self, n: int) -> None:
        """Stops answering a request: nobody waits for it any more."""
        task = self._numbered.get(n)
        if task is not None:
            task.cancel()

    async def _answer(
        self, connection: Connection, n: int, call: RemoteCall | None, method: str, params: Any, streamed: bool
    ) -> None:
        ok = False
        value: Any = None
        try:
            value = await self._value(call, method, params)
            if isinstance(value, AsyncIterator):
                value = await self._parts(connection, n, value, streamed)
            ok = True
        except (RequestError, Refused) as error:
            value = {"message": str(getattr(error, "message", None) or error)[:2000]}
        except Exception:
            logger.exception("A host call (%s) of a function failed", method[:100])
            value = {"message": f"The server failed to answer {method[:100]}; its log has the reason."}
        try:
            connection.send(["reply", n, ok, value] if streamed else [n, ok, value])
        except (RecursionError, ValueError):  # without any answer the function would wait for one
            value = {"message": f"The answer to {method[:100]} is nested too deeply to be sent."}
            connection.send(["reply", n, False, value] if streamed else [n, False, value])

    async def _value(self, call: RemoteCall | None, method: str, params: Any) -> Any:
        if method == RESOLVE:
            return await self._resolve(params)
        if call is None or call.task is None:
            raise RequestError("The server can only be asked while a call runs, and by its own code.")
        if method == ASK:
            if call.task.ask is None:
                raise RequestError("Nobody can be asked.")
            with call.pause:
                return await call.task.ask(params)
        if self._host_calls is None:
            raise RequestError(f"This server answers no host calls ({method[:100]}).")
        return await self._host_calls.call(call.identity, method, params)

    async def _resolve(self, params: Any) -> list[str]:
        match params:
            case [str() as name, int() | None as port] if len(name) <= 255 and 0 <= (port or 0) < 65536:
                if self._names is None:
                    raise RequestError("This function has no network.")
                return await self._names.resolve(name, port)
        raise RequestError("A name is resolved with [name, port]; the port may be null.")

    # --- answers in pieces --------------------------------------------------------------------------

    async def _parts(self, connection: Connection, n: int, parts: AsyncIterator[Any], streamed: bool) -> Any:
        """Sends an answer piece by piece, as the worker takes them; the other connection has no way to wait for it."""
        if not streamed:
            raise RequestError("This answer comes in parts, and only asynchronous code can take them.")
        if n in self._windows:
            raise RequestError("Another request has this number.")
        window = self._windows[n] = _Window()
        try:
            async for part in parts:
                size = len(encode(["part", n, part]))
                await window.room(size)
                connection.send(["part", n, part])
        finally:
            del self._windows[n]
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()
        return None

    def took(self, n: int, taken: int) -> None:
        """Takes word that a worker took so many bytes of an answer."""
        window = self._windows.get(n)
        if window is not None and taken > 0:
            window.took(taken)

    def close(self) -> None:
        """Stops answering."""
        for task in [*self._tasks, *self._asking]:
            task.cancel()
        if self._names is not None:
            self._names.close()


class _Window:
    """How much of an answer is on its way."""

    def __init__(self) -> None:
        self._outstanding = 0
        self._waiter: asyncio.Future[None] | None = None

    async def room(self, size: int) -> None:
        while self._outstanding and self._outstanding + size > WINDOW:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._outstanding += size

    def took(self, taken: int) -> None:
        self._outstanding = max(0, self._outstanding - taken)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
