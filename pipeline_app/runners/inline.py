"""Runs author code in the server process: for trusted code, tests, and platforms without fork.

It offers no isolation, and says so. Time and output are limited; CPU, memory, files and network are not.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from django.core.cache import caches

from functions_app.runtime import InvalidValves
from functions_app.runtime import LoadError as RuntimeLoadError
from pipeline_app.errors import FunctionError, FunctionUnavailable, SandboxLimit
from pipeline_app.runners.admission import Checks, Gates, is_sync
from pipeline_app.runners.base import Checked, Code, Identity, Json, Outcome, Runner, Scope, Stream, Task, Worker
from pipeline_app.runners.environments import add_base_to_path
from pipeline_app.runners.inlinehost import InlineHost
from pipeline_app.runners.jobs import in_thread
from pipeline_app.runners.limits import LATE, Pause, took_too_long
from pipeline_app.runners.packages import add_to_path
from pipeline_app.runners.requests import HostCalls
from pipeline_app.worker import checking, compat, inspection, loader, valves
from pipeline_app.worker.answers import Whole
from pipeline_app.worker.calls import Call
from pipeline_app.worker.errors import HookError, LoadError, ValvesError
from pipeline_app.worker.jsonable import copy
from pipeline_app.worker.loader import Loaded
from pipeline_app.worker.threads import Threads

logger = logging.getLogger(__name__)


VERSIONS_KEPT = 4
"""How many versions of one function stay loaded: the live one, and those that edits and tries loaded last."""


class InlineWorker(Worker):
    """A loaded version. Nothing ends it: it goes when neither the cache nor a request refers to it."""

    def __init__(self, code: Code, loaded: Loaded, original: InlineWorker | None = None) -> None:
        self.code = code
        self.loaded = loaded
        self._original = original
        if original is None:
            weakref.finalize(self, loader.unload, loaded).atexit = False

    def release(self) -> None:
        return None


class InlineRunner(Runner):
    """Modules live in the ``modules`` cache, keyed by function and content hash."""

    isolation = "inline"

    def __init__(self, *, host_calls: HostCalls | None = None) -> None:
        self._host_calls = host_calls
        self._modules = caches["modules"]
        self._loads: dict[str, asyncio.Task[InlineWorker]] = {}
        self._kept: dict[str, deque[str]] = {}
        self._calls: dict[str, Call] = {}
        self._gates = Gates()
        self._checks = Checks()
        self._lingering: set[asyncio.Task[None]] = set()
        self._threads = Threads("load")
        add_base_to_path()
        compat.install()  # before the packages of single functions, as in a worker

    # --- loading -------------------------------------------------------------------------------

    async def prepare(self, code: Code) -> InlineWorker:
        self.require_isolation(code)
        try:
            worker = await self._worker(code)
        except LoadError as error:
            raise FunctionUnavailable.not_loading(code.function_id, error.data) from None
        # The policy may be newer than the code.
        return worker if worker.code is code else InlineWorker(code, worker.loaded, worker)

    async def _worker(self, code: Code) -> InlineWorker:
        """Returns the worker of a version, loaded on first use. Raises the worker tree's ``LoadError``."""
        key = code.key
        worker: InlineWorker | None = self._modules.get(key)
        if worker is not None:
            return worker
        load = self._loads.get(key)
        if load is None or load.get_loop() is not asyncio.get_running_loop():
            load = self._loads[key] = asyncio.create_task(self._load(code), name=f"load {code.function_id}")
            load.add_done_callback(lambda done: self._loads.pop(key, None) if self._loads.get(key) is done else None)
        # One load for everybody who waits; one who leaves doesn't stop it.
        return await asyncio.shield(load)

    async def _load(self, code: Code) -> InlineWorker:
        add_base_to_path()  # it may have been built since
        add_to_path(code)
        given = (code.function_id, code.number, code.sha256, code.source, code.policy.imports)
        loaded: Loaded = await in_thread(self._threads, code.policy.time_limit("load"), loader.load, *given)
        worker = InlineWorker(code, loaded)
        key = code.key
        kept = self._kept.setdefault(code.function_id, deque())
        if key not in kept:
            kept.append(key)
            if len(kept) > VERSIONS_KEPT:
                self._modules.delete(kept.popleft())
        self._modules.set(key, worker)
        return worker

    async def inspect(self, code: Code) -> Json:
        manifest: Json = await self._about(code, "load", inspection.manifest)
        return manifest

    async def read(self, code: Code) -> Json:
        try:
            reading: Json = await in_thread(self._threads, code.policy.time_limit("load"), checking.read, code.source)
        except LoadError as error:
            raise RuntimeLoadError.told(error.data) from None
        return reading

    async def validate(self, code: Code, scope: Scope, values: Json) -> Json:
        kept: Json = await self._about(code, "options", valves.validate, scope, copy(values))
        return kept

    async def options(self, code: Code, scope: Scope, user: Json | None) -> Json | None:
        schema: Json | None = await self._about(code, "options", valves.options, scope, copy(user))
        return schema

    async def _about(self, code: Code, limit: str, question: Callable[..., Any], *args: Any) -> Any:
        """Asks a question about a loaded version. Raises the data app's errors."""
        try:
            worker = await self._worker(code)
            return await in_thread(worker.loaded.threads, code.policy.time_limit(limit), question, worker.loaded, *args)
        except ValvesError as error:
            raise InvalidValves(error.errors) from None
        except (LoadError, HookError) as error:
            raise RuntimeLoadError.told(error.data) from None

    async def check(self, code: Code) -> Checked:
        self.require_isolation(code)
        checked, seconds = Checked(), code.policy.time_limit("load")
        async with self._checks.place(code):
            try:
                checked.reading = await in_thread(self._threads, seconds, checking.read, code.source)
            except LoadError as error:
                checked.crash = error.data["message"]
                return checked
            if checked.is_worth_loading:
                given = (code.function_id, code.number, code.sha256, code.source, code.policy.imports)
                try:
                    add_to_path(code)
                    loaded: Loaded = await in_thread(self._threads, seconds, loader.load, *given)
                    try:
                        checked.look = await in_thread(loaded.threads, seconds, checking.look_at, loaded, code.source)
                    finally:
                        loader.unload(loaded)
                except LoadError as error:
                    checked.error = error.data
        return checked

    def forget(self, function_id: str | None = None) -> None:
        if function_id is None:
            self._modules.clear()
        else:
            self._modules.delete_prefix(f"{function_id}:")  # type: ignore[attr-defined]  # our own backend

    # --- calling -------------------------------------------------------------------------------

    def _call(self, worker: InlineWorker, task: Task, pause: Pause) -> Call:
        return Call(
            worker.loaded,
            task.hook,
            task.payload if task.owned else copy(task.payload),
            task.context,
            task.valves,
            task.user_valves,
            emit=task.on_event,
            ask=_pausing(task.ask, pause) if task.ask is not None else None,
            host=None if self._host_calls is None else InlineHost(self._host_calls, self._identity(worker, task)),
            output_limit=worker.code.policy.output_mb * 1024 * 1024,
        )

    @staticmethod
    def _identity(worker: InlineWorker, task: Task) -> Identity:
        return Identity(task.caller, worker.code.policy, worker.code.function_id, task.hook, task)

    async def call(self, worker: Worker, task: Task) -> Outcome:
        assert isinstance(worker, InlineWorker)
        queue = await self._enter(worker, task)
        pause = Pause()
        call = self._calls[task.id] = self._call(worker, task, pause)
        started = time.perf_counter()
        clock = _Clock(task.time_limit, pause)
        try:
            with clock:
                value = await call.value()
        except HookError as error:
            raise _failed(_failure(worker, task, call, error), call, started, queue) from None
        except TimeoutError:
            raise _failed(_limit(worker, task, call, clock.limit), call, started, queue) from None
        finally:
            del self._calls[task.id]
            self._leave(worker, task, call)
        if isinstance(value, Whole):
            value = value.value
        return _outcome(call, value, time.perf_counter() - started, queue)

    async def _enter(self, worker: InlineWorker, task: Task) -> float:
        """Takes a place for a call; returns the seconds it waited. Raises ``Busy``."""
        code, sync = worker.code, is_sync(worker.code, task.hook)
        gate = self._gates.of(code.function_id)
        return 0.0 if gate.enter(code.policy, sync) else await gate.wait(code, task.hook, sync)

    def _leave(self, worker: InlineWorker, task: Task, call: Call) -> None:
        """Gives the place of a call back, when its author's code has really ended."""
        gate, sync = self._gates.of(worker.code.function_id), is_sync(worker.code, task.hook)
        host = call.host
        open_host = host if isinstance(host, InlineHost) and host.is_open else None
        if call.ended and open_host is None:
            gate.leave(sync)
            return

        async def later() -> None:
            await call.wait_ended()
            gate.leave(sync)
            if open_host is not None:
                await open_host.end()

        lingering = asyncio.get_running_loop().create_task(later())
        self._lingering.add(lingering)
        lingering.add_done_callback(self._lingering.discard)

    def stream(self, worker: Worker, task: Task) -> Stream:
        assert isinstance(worker, InlineWorker)
        return InlineStream(self, worker, task)

    async def cancel(self, task_id: str) -> bool:
        call = self._calls.get(task_id)
        if call is None:
            return False
        call.interrupt()
        return True

    async def close(self) -> None:
        for call in list(self._calls.values()):
            call.interrupt()
        for load in list(self._loads.values()):
            load.cancel()
        for lingering in list(self._lingering):
            lingering.cancel()
        self._threads.close()
        self._modules.clear()


class InlineStream(Stream):
    """A pipe's items, within the limits for the first and for all of them."""

    def __init__(self, runner: InlineRunner, worker: InlineWorker, task: Task) -> None:
        self._runner = runner
        self._worker = worker
        self._task = task
        self._pause = Pause()
        self._call = runner._calls[task.id] = runner._call(worker, task, self._pause)
        self._items = self._call.items()
        self._started = time.perf_counter()
        self._queue = 0.0
        self._entered = False
        self.outcome = Outcome()

    async def __aiter__(self) -> AsyncIterator[list[Any]]:
        task = self._task
        self._queue = await self._runner._enter(self._worker, task)
        self._entered = True
        self._started = time.perf_counter()
        pause = self._pause
        first = task.first_limit is not None and (task.time_limit is None or task.first_limit < task.time_limit)
        clock = _Clock(task.first_limit if first else task.time_limit, pause)
        ends = None if task.time_limit is None else self._started + task.time_limit
        try:
            while True:
                with clock:
                    items = await anext(self._items, None)
                if items is None:
                    return
                yield items
                first = False
                left = None if ends is None else max(0.0, ends + pause.seconds - time.perf_counter())
                clock = _Clock(left, pause)
        except HookError as error:
            failure = _failure(self._worker, task, self._call, error)
            raise _failed(failure, self._call, self._started, self._queue) from None
        except TimeoutError:
            limit = task.first_limit if first else task.time_limit
            failure = _limit(self._worker, task, self._call, limit, first=first)
            raise _failed(failure, self._call, self._started, self._queue) from None

    async def aclose(self) -> None:
        await self._items.aclose()
        self._runner._calls.pop(self._task.id, None)
        call = self._call
        if self._entered:
            self._entered = False
            self._runner._leave(self._worker, self._task, call)
        wall = time.perf_counter() - self._started
        self.outcome = _outcome(call, None, wall, self._queue)


class _Clock:
    """Cancels the task that waits inside when time is up, as ``asyncio.timeout`` does, at a fraction of its price.

    When the loop itself was held up, the function is given that time back once: it is not to blame for it.
    """

    __slots__ = ("_fired", "_handle", "_made_up", "_pause", "_paused", "_task", "limit")

    def __init__(self, limit: float | None, pause: Pause) -> None:
        self.limit = limit
        self._pause = pause
        self._paused = pause.seconds
        self._fired = False
        self._made_up = False
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        if self.limit is not None:
            self._task = asyncio.current_task()
            self._handle = asyncio.get_running_loop().call_later(self.limit, self._fire)

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._handle is not None
        late, paused = loop.time() - self._handle.when(), self._pause.seconds
        again, self._paused = paused - self._paused, paused
        if late > LATE and not self._made_up:
            self._made_up = True
            again += late
        if again > 0:
            self._handle = loop.call_later(again, self._fire)
            return
        self._fired = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._fired and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error


def _pausing(ask: Callable[[Json], Awaitable[Any]], pause: Pause) -> Callable[[Json], Awaitable[Any]]:
    """Returns ``ask`` as a call uses it: the time until the answer does not count."""

    async def asking(question: Json) -> Any:
        with pause:
            return await ask(question)

    return asking


def _failure(worker: InlineWorker, task: Task, call: Call, error: HookError) -> FunctionError:
    return FunctionError.told(worker.code.function_id, task.hook, {**error.data, "output": call.output})


def _limit(worker: InlineWorker, task: Task, call: Call, limit: float | None, *, first: bool = False) -> FunctionError:
    error = SandboxLimit(worker.code.function_id, task.hook, took_too_long(limit, first=first))
    error.output = call.output
    if call.failed is not None:
        error.locate(call.failed)
    return error


def _outcome(call: Call, value: Any, wall: float, queue: float) -> Outcome:
    profile = call.profile.told() if call.profile is not None else None
    return Outcome(value, call.metadata, wall, call.cpu, call.output, queue, profile=profile)


def _failed(error: FunctionError, call: Call, started: float, queue: float) -> FunctionError:
    """Returns an error with what the call cost."""
    stopped = error.data["message"] if isinstance(error, SandboxLimit) else None
    wall = time.perf_counter() - started
    error.outcome = _outcome(call, None, wall, queue)
    error.outcome.exit = stopped
    return error
