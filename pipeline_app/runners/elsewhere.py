"""A runner that lives on one event loop, as it looks from another one.

The server's requests run on the runner's own loop. Others are a server that speaks no ``lifespan``, and tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, TypeVar, cast

from pipeline_app.runners.base import Checked, Code, Json, Outcome, Runner, Scope, Stream, Task, Worker

T = TypeVar("T")


class Elsewhere(Runner):
    """Passes everything on to the runner's loop; events and questions come back to the caller's."""

    def __init__(self, runner: Runner, home: asyncio.AbstractEventLoop) -> None:
        self._runner = runner
        self._home = home
        self.isolation = runner.isolation
        self.attestation = runner.attestation

    async def there(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the runner's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._home))

    async def open(self) -> None:
        await self.there(self._runner.open())

    async def prepare(self, code: Code) -> Worker:
        return ElsewhereWorker(await self.there(self._runner.prepare(code)), self._home)

    async def inspect(self, code: Code) -> Json:
        return await self.there(self._runner.inspect(code))

    async def read(self, code: Code) -> Json:
        return await self.there(self._runner.read(code))

    async def validate(self, code: Code, scope: Scope, values: Json) -> Json:
        return await self.there(self._runner.validate(code, scope, values))

    async def options(self, code: Code, scope: Scope, user: Json | None) -> Json | None:
        return await self.there(self._runner.options(code, scope, user))

    async def check(self, code: Code) -> Checked:
        return await self.there(self._runner.check(code))

    async def call(self, worker: Worker, task: Task) -> Outcome:
        assert isinstance(worker, ElsewhereWorker)
        return await self.there(self._runner.call(worker.worker, self._sent(task)))

    def stream(self, worker: Worker, task: Task) -> Stream:
        assert isinstance(worker, ElsewhereWorker)
        return ElsewhereStream(self, self._runner.stream(worker.worker, self._sent(task)))

    async def cancel(self, task_id: str) -> bool:
        return await self.there(self._runner.cancel(task_id))

    def forget(self, function_id: str | None = None) -> None:
        self._runner.forget(function_id)

    def state(self, function_id: str) -> Json:
        return self._runner.state(function_id)

    async def close(self) -> None:
        await self.there(self._runner.close())

    def _sent(self, task: Task) -> Task:
        """Returns a task whose callbacks run on the loop that the caller is on now."""
        here = asyncio.get_running_loop()
        on_event, ask = task.on_event, task.ask

        def tell(event: Json) -> None:
            assert on_event is not None
            here.call_soon_threadsafe(on_event, event)

        async def put(question: Json) -> Any:
            assert ask is not None
            asking = cast(Coroutine[Any, Any, Any], ask(question))
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, here))

        return replace(task, on_event=tell if on_event is not None else None, ask=put if ask is not None else None)


class ElsewhereWorker(Worker):
    """A worker that is held from another loop."""

    def __init__(self, worker: Worker, home: asyncio.AbstractEventLoop) -> None:
        self.worker = worker
        self.code = worker.code
        self._home = home

    def release(self) -> None:
        self._home.call_soon_threadsafe(self.worker.release)


class ElsewhereStream(Stream):
    """A stream that is taken from another loop, list by list."""

    def __init__(self, runner: Elsewhere, stream: Stream) -> None:
        self._runner = runner
        self._stream = stream
        self._items = cast(AsyncGenerator[list[Any], None], stream.__aiter__())
        self.outcome = stream.outcome

    async def __aiter__(self) -> AsyncIterator[list[Any]]:
        while (items := await self._runner.there(self._next())) is not None:
            yield items

    async def _next(self) -> list[Any] | None:
        return await anext(self._items, None)

    async def aclose(self) -> None:
        async def close() -> None:
            await self._items.aclose()
            await self._stream.aclose()

        await self._runner.there(close())
        self.outcome = self._stream.outcome
