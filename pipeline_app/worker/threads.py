"""Threads for synchronous author code, and the short way back to the event loop.

``concurrent.futures`` would do, at twice the price a call: a Future with a condition for every job and one
write to the loop's wake-up pipe for every result. Here results that are ready together wake the loop once.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import queue
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MOST = 128
IDLE = 30.0

_stack_lock = threading.Lock()  # the size of stacks is one for the whole process


class Threads:
    """The threads of one function: made when needed, at most ``most``, gone after half a minute without work.

    ``stack`` is how many bytes of stack each gets, 0 for what is usual in this process.
    """

    def __init__(self, name: str, most: int = MOST, stack: int = 0) -> None:
        self.most = most
        self._name = name
        self._stack = stack
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._count = 0
        self._unclaimed = 0
        self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Runs ``job``, which must not raise, as soon as a thread is free; ``RuntimeError`` when none can start."""
        with self._lock:
            self._unclaimed += 1
            needed = self._unclaimed > self._idle and self._count < self.most
            if needed:
                self._count += 1
        if needed:
            try:
                self._start()
            except RuntimeError:
                with self._lock:
                    self._count -= 1
                    alone = self._count == 0
                    if alone:
                        self._unclaimed -= 1
                if alone:
                    raise
        self._jobs.put(job)

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        if not self._stack:
            thread.start()
            return
        with _stack_lock:
            usual = threading.stack_size(self._stack)
            try:
                thread.start()
            finally:
                threading.stack_size(usual)

    def close(self) -> None:
        """Lets threads go as soon as they have nothing to do; work given later still runs."""
        with self._lock:
            self._closed = True
            idle = self._idle
        for _ in range(idle):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                job = self._jobs.get(timeout=IDLE)
            except queue.Empty:
                job = None
            with self._lock:
                self._idle -= 1
                if job is not None:
                    self._unclaimed -= 1
                elif self._unclaimed == 0:
                    self._count -= 1
                    return
            if job is not None:
                job()
                del job
                if self._closed and self._jobs.empty():
                    with self._lock:
                        if self._unclaimed == 0:
                            self._count -= 1
                            return


class Port:
    """Carries callbacks from any thread to one event loop, in order, waking it once for all that are waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._armed = False

    def post(self, callback: Callable[..., Any], *args: Any) -> None:
        """Calls ``callback(*args)`` on the loop soon. A loop that is closed hears nothing any more."""
        self._waiting.append((callback, args))
        if not self._armed:
            self._armed = True
            loop = self._loop()
            if loop is None or loop.is_closed():
                return
            try:
                loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                if not loop.is_closed():
                    raise

    def _deliver(self) -> None:
        self._armed = False  # before looking, so that whoever posts from now on wakes the loop again
        for _ in range(len(self._waiting)):
            callback, args = self._waiting.popleft()
            callback(*args)


_ports: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Port] = weakref.WeakKeyDictionary()


def port(loop: asyncio.AbstractEventLoop) -> Port:
    """Returns the port of a loop; called on that loop's thread."""
    found = _ports.get(loop)
    if found is None:
        found = _ports[loop] = Port(loop)
    return found


def raise_in_thread(ident: int, exception: type[BaseException] | None) -> None:
    """Makes a thread raise ``exception`` at its next step of Python code; None takes back one not yet raised.

    The caller makes sure that the thread still runs what it is meant for (``calls.py``).
    """
    target = ctypes.py_object(exception) if exception is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), target)


DELICATE = frozenset(("logging", "importlib._bootstrap", "importlib._bootstrap_external", "_io"))
_HERE = __name__.rpartition(".")[0]


def is_delicate(ident: int) -> bool:
    """Returns whether a thread is inside code that must not be torn: a lock of logging or of an import, or our own.

    A look, not a promise: the thread may go on before anything is raised in it.
    """
    frame = sys._current_frames().get(ident)
    while frame is not None:
        name = str(frame.f_globals.get("__name__") or "")
        if name.startswith("function_"):
            return False
        if name in DELICATE or (
            name.rpartition(".")[0] == _HERE and name not in (f"{_HERE}.running", f"{_HERE}.calls")
        ):
            return True
        frame = frame.f_back
    return False


class InContext(ThreadPoolExecutor):
    """The loop's own executor: what author code gives to ``run_in_executor`` belongs to the call that gave it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(contextvars.copy_context().run, fn, *args, **kwargs)
