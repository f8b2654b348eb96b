"""Runs author code outside of the server: one confined process per function version. The default.

This module is the door: it takes calls in, finds their worker, and turns what comes back into outcomes and errors.
The pool finds and ends workers, ``workers`` speaks with one, ``calls`` follows one call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from functions_app.runtime import InvalidValves
from functions_app.runtime import LoadError as RuntimeLoadError
from pipeline_app.errors import FunctionError, FunctionUnavailable
from pipeline_app.runners import messages
from pipeline_app.runners.admission import Checks, Gates, is_sync
from pipeline_app.runners.advice import with_advice
from pipeline_app.runners.base import Checked, Code, Json, Outcome, Runner, Scope, Stream, Task, Worker
from pipeline_app.runners.breaker import Opening
from pipeline_app.runners.calls import RemoteCall
from pipeline_app.runners.limits import loading_took_too_long
from pipeline_app.runners.pool import Pool
from pipeline_app.runners.requests import HostCalls
from pipeline_app.runners.sandbox import Sandbox, quarter_of_memory_mb
from pipeline_app.runners.workers import RunningWorker
from pipeline_app.worker.arguments import context_for
from pipeline_app.worker.errors import LoadError
from pipeline_app.worker.protocol import ProtocolError

logger = logging.getLogger(__name__)


class ProcessWorker(Worker):
    """A version held by a request, on one worker for as long as that lives."""

    __slots__ = ("_pool", "_released", "code", "running")

    def __init__(self, code: Code, running: RunningWorker, pool: Pool) -> None:
        self.code = code
        self.running = running
        self._pool = pool
        self._released = False
        running.holders += 1

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._pool.release(self.running)

    def move(self, running: RunningWorker) -> None:
        """Goes on with another worker, because the one before has ended."""
        running.holders += 1
        self._pool.release(self.running)
        self.running = running


class ProcessRunner(Runner):
    """Everything happens on the loop that it was opened on."""

    one_loop = True

    def __init__(
        self,
        *,
        host_calls: HostCalls | None = None,
        on_trip: Callable[[Opening], None] | None = None,
        sandbox: Sandbox | None = None,
        idle_seconds: float = 600.0,
        memory_mb: float | None = None,
    ) -> None:
        self.isolation = "process"
        self._sandbox = sandbox or Sandbox(host_calls, idle_seconds=idle_seconds)
        self._on_trip = on_trip
        self._idle_seconds = idle_seconds
        self._memory_mb = memory_mb or quarter_of_memory_mb()
        self._gates = Gates()
        self._checks = Checks()
        self._calls: dict[str, RemoteCall] = {}
        self._opening: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: Pool | None = None

    # --- opening and closing ------------------------------------------------------------------------

    async def open(self) -> None:
        if self._pool is None:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open(), name="open the sandbox")
            opening = self._opening
            try:
                await asyncio.shield(opening)
            finally:
                if self._opening is opening and opening.done():
                    self._opening = None  # a failed one is tried again by the next who comes

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        pool = Pool(
            self._sandbox.start, idle_seconds=self._idle_seconds, memory_mb=self._memory_mb, on_trip=self._on_trip
        )
        self.attestation = await self._sandbox.open(pool)
        self.isolation = self.attestation.level
        self._pool = pool

    async def close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
        if self._pool is not None:
            await self._pool.close()
        await self._sandbox.close()
        self._pool = None

    async def _opened(self) -> Pool:
        while self._pool is None:
            await self.open()
        return self._pool

    # --- versions -----------------------------------------------------------------------------------

    async def prepare(self, code: Code) -> ProcessWorker:
        pool = self._pool or await self._opened()
        self.require_isolation(code)
        running = pool.ready(code)
        if running is None:
            try:
                running = await pool.worker(code)
            except LoadError as error:
                raise FunctionUnavailable.not_loading(code.function_id, error.data) from None
        return ProcessWorker(code, running, pool)

    async def inspect(self, code: Code) -> Json:
        manifest: Json = await self._about(code, "load", "manifest", None, again=True)
        return manifest

    async def validate(self, code: Code, scope: Scope, values: Json) -> Json:
        kept: Json = await self._about(code, "options", "validate", {"scope": scope, "values": values})
        return kept

    async def options(self, code: Code, scope: Scope, user: Json | None) -> Json | None:
        schema: Json | None = await self._about(code, "options", "options", {"scope": scope, "user": user})
        return schema

    async def read(self, code: Code) -> Json:
        with _as_load_errors():
            pool = self._pool or await self._opened()
            self.require_isolation(code)
            async with pool.aside(code) as running:
                reading: Json = await self._asked(running, "load", "read", code.source)
                return reading

    async def _about(self, code: Code, limit: str, question: str, payload: Any, *, again: bool = False) -> Any:
        """Asks a question about a loaded version. Raises the data app's errors."""
        with _as_load_errors():
            return await self._answered(code, limit, question, payload, again)

    async def _answered(self, code: Code, limit: str, question: str, payload: Any, again: bool) -> Any:
        pool = self._pool or await self._opened()
        self.require_isolation(code)
        running = await pool.worker(code, again=again)
        running.holders += 1
        try:
            return await self._asked(running, limit, question, payload)
        finally:
            pool.release(running)

    async def _asked(self, running: RunningWorker, limit: str, question: str, payload: Any) -> Any:
        """Returns a worker's checked answer. Raises the worker tree's ``LoadError``, or ``InvalidValves``."""
        policy = running.code.policy
        try:
            call = running.begin("about", question, payload)
            seconds = policy.time_limit(limit)
            call.limit(seconds)
            await call.wait()
            if call.failure is not None:
                in_time = running.exit is not None and call.failure.code != "time_limit"  # its worker ended
                raise LoadError(call.failure.data if in_time else loading_took_too_long(seconds, question))
            assert call.done is not None
            if call.done.error is None:
                return messages.answer(question, call.done.value)
            kind, data = call.done.error
            if kind == "valves":
                if question != "validate":
                    raise ProtocolError(f"{question} failed as no question can")
                raise InvalidValves(data)
            raise LoadError(with_advice(data, policy))
        except ProtocolError as error:
            running.refuse(str(error))
            message = f"The source ended its process: it told what no worker may tell: {error}."
            raise LoadError({"type": "WorkerDied", "message": message}) from None

    async def check(self, code: Code) -> Checked:
        pool = self._pool or await self._opened()
        self.require_isolation(code)
        checked = Checked()
        async with self._checks.place(code), pool.aside(code) as running:
            try:
                checked.reading = await self._asked(running, "load", "read", code.source)
            except LoadError as error:
                checked.crash = error.data["message"]
                return checked
            if checked.is_worth_loading:
                try:
                    await pool.load(running, code)
                    checked.look = await self._asked(running, "load", "check", code.source)
                except LoadError as error:
                    checked.error = error.data
        return checked

    def forget(self, function_id: str | None = None) -> None:
        pool, loop = self._pool, self._loop
        if pool is None or loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(pool.forget, function_id)

    def state(self, function_id: str) -> Json:
        return self._pool.state(function_id) if self._pool is not None else super().state(function_id)

    # --- calls --------------------------------------------------------------------------------------

    async def call(self, worker: Worker, task: Task) -> Outcome:
        assert isinstance(worker, ProcessWorker)
        context = _needed(worker.code, task)
        call, queue = await self._begin(
            worker, task, "call", task.hook, task.payload, context, task.valves, task.user_valves
        )
        self._calls[task.id] = call
        call.limit(task.time_limit)
        try:
            await call.wait()
        finally:
            del self._calls[task.id]
        return self._result(worker, call, queue)

    async def _begin(self, worker: ProcessWorker, task: Task, *frame: Any) -> tuple[RemoteCall, float]:
        """Takes a place for a call and sends its frame; returns the seconds that waiting for the place took too."""
        code, hook = worker.code, task.hook
        sync, gate, queue = is_sync(code, hook), self._gates.of(code.function_id), 0.0
        if not gate.enter(code.policy, sync):
            queue = await gate.wait(code, hook, sync)
        try:
            running = worker.running
            if running.exit is not None:
                running = await self._renewed(worker)
            if running.crowded:
                await running.room()
            try:
                call = running.begin(*frame, task.ask is not None, task=task, on_end=lambda: gate.leave(sync))
            except (RecursionError, ValueError):
                told = {"type": "ValueError", "message": "What it is called with is nested too deeply.", "status": 400}
                raise FunctionError(code.function_id, hook, told) from None
            return call, queue
        except BaseException:
            gate.leave(sync)
            raise

    async def _renewed(self, worker: ProcessWorker) -> RunningWorker:
        """Returns a fresh worker for a request whose own ended between two hooks."""
        fresh = await self.prepare(worker.code)
        worker.move(fresh.running)
        fresh.release()
        return worker.running

    def _result(self, worker: ProcessWorker, call: RemoteCall, queue: float) -> Outcome:
        """Returns how a call ended. Raises ``FunctionError``."""
        told = call.done
        outcome = call.outcome(told.value if told is not None else None)
        outcome.queue = queue
        error = call.failure
        if error is None and told is not None and told.error is not None:
            data = told.error[1]
            if type(data) is dict:
                data = with_advice(data, worker.code.policy)
                error = FunctionError.told(worker.code.function_id, call.hook, data)
            else:
                error = FunctionError(worker.code.function_id, call.hook, {"errors": data})
        if error is None:
            return outcome
        error.output, error.outcome = outcome.output, outcome
        if call.failure is not None:
            logger.warning("%s", error.message)
        raise error from None

    def stream(self, worker: Worker, task: Task) -> Stream:
        assert isinstance(worker, ProcessWorker)
        return ProcessStream(self, worker, task)

    async def cancel(self, task_id: str) -> bool:
        call = self._calls.get(task_id)
        if call is None:
            return False
        data = {"type": "Interrupted", "message": "The call was stopped.", "line": None, "traceback": None}
        call.order(FunctionError(call.worker.code.function_id, call.hook, data))
        return True


@contextmanager
def _as_load_errors() -> Iterator[None]:
    """Makes of what keeps a source from an answer the data app's ``LoadError``."""
    try:
        yield
        return
    except LoadError as error:
        data = error.data
    except FunctionUnavailable as error:
        data = {"type": "Unavailable", "message": error.message}
    raise RuntimeLoadError.told(data) from None


def _needed(code: Code, task: Task) -> Json:
    """Returns what of a task's context its hook asks for, as inspection found; all of it where nobody knows.

    An event's hook may ask for everything by ``**kwargs``.
    """
    parameters = code.manifest.get("hooks", {}).get(task.hook, {}).get("parameters")
    if parameters is None or task.hook == "event":
        return task.context
    keys = context_for(task.hook, tuple(parameters))
    return {name: value for name, value in task.context.items() if name in keys}


class ProcessStream(Stream):
    """A pipe's items, within the limits for the first and for all of them."""

    def __init__(self, runner: ProcessRunner, worker: ProcessWorker, task: Task) -> None:
        self._runner = runner
        self._worker = worker
        self._task = task
        self._call: RemoteCall | None = None
        self._queue = 0.0
        self.outcome = Outcome()

    async def __aiter__(self) -> AsyncIterator[list[Any]]:
        task, runner = self._task, self._runner
        context = _needed(self._worker.code, task)
        call, self._queue = await runner._begin(
            self._worker, task, "stream", task.payload, context, task.valves, task.user_valves
        )
        self._call = runner._calls[task.id] = call
        first, whole = task.first_limit, task.time_limit
        if first is not None and (whole is None or first < whole):
            call.limit(first, first=True)
        else:
            call.limit(whole)
        while items := await call.take():
            yield items
        runner._result(self._worker, call, self._queue)

    async def aclose(self) -> None:
        call = self._call
        if call is None:
            return
        self._runner._calls.pop(self._task.id, None)
        await call.leave()
        self.outcome = call.outcome()
        self.outcome.queue = self._queue
