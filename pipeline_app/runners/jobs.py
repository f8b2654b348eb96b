"""Work on author code that is no call of a hook (loading, schemas), on a thread and within a time limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from pipeline_app.runners.limits import loading_took_too_long
from pipeline_app.worker.errors import Interrupted, LoadError
from pipeline_app.worker.threads import Port, Threads, port, raise_in_thread


class _Job:
    """One piece of work. It is interrupted only while it runs, never what its thread does next."""

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...], done: asyncio.Future[Any], home: Port) -> None:
        self._work = work
        self._args = args
        self._done = done
        self._home = home
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._raised = False

    def __call__(self) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            try:
                self._thread = threading.get_ident()
                result = self._work(*self._args)
            finally:
                self._leave()
        except Interrupted:
            self._leave()
            error = TimeoutError()
        except BaseException as raised:  # whatever author code raises, also SystemExit, belongs to whoever waits
            error = raised
        self._home.post(self._tell, result, error)

    def _leave(self) -> None:
        with self._lock:
            if self._thread is not None:
                # Only then: in CPython 3.11 taking back what was never raised slows all threads down, for good, and
                # hangs those that are profiled.
                if self._raised:
                    raise_in_thread(self._thread, None)
                self._thread = None

    def interrupt(self) -> None:
        with self._lock:
            if self._thread is not None:
                self._raised = True
                raise_in_thread(self._thread, Interrupted)

    def _tell(self, result: Any, error: BaseException | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(result)
        else:
            self._done.set_exception(error)


async def in_thread(threads: Threads, limit: float, work: Callable[..., Any], *args: Any) -> Any:
    """Runs ``work(*args)`` on a thread and returns its result; ``LoadError`` when that takes over ``limit`` seconds.

    Python code that goes on after that is interrupted; code that waits inside C keeps its thread until it returns.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    job = _Job(work, args, done, port(loop))
    threads.submit(job)
    try:
        async with asyncio.timeout(limit):
            return await done
    except TimeoutError:
        raise LoadError(loading_took_too_long(limit, getattr(work, "__name__", ""))) from None
    finally:
        if not done.done() or done.cancelled():
            job.interrupt()
