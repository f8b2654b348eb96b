"""Author code at work: on the loop or on a thread, in one context, and stopped when it has to be.

A call goes through one or more *stages*. A stage ends with nothing or with the next one: a plain generator
that an async pipe returned, for instance, is pumped by a thread after the pipe's task has ended, for two
cannot be inside one ``Context`` at a time.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from .errors import HookError, Interrupted
from .jsonable import name_of
from .profile import Profile
from .scope import Scope, current
from .threads import Threads, is_delicate, port, raise_in_thread

GRACE = 1.0
"""Seconds that a caller who stops a call waits for the author's code to end before going on without it."""
THREAD_PAUSES = (0.2, 0.2, 0.5, 1.0)
TASK_PAUSES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between interruptions of code that does not end, long enough for its own clean-up; the last repeats."""
GENTLE_PAUSE = 0.3
"""Seconds that a generator has to be closed between two items, with its own clean-up."""
DELICATE_PAUSE = 0.002
DELICATE_TRIES = 250


class Stage(NamedTuple):
    """A piece of a call's work: a function for a thread, or a coroutine function for the loop."""

    threaded: bool
    work: Callable[[], Any]
    subject: Any = None
    """What the work takes on from the stage before; a coroutine that is never awaited is closed."""


class Running:
    """The stages of one call. Everything but the work itself, and ``interrupt``, happens on the loop."""

    def __init__(
        self,
        threads: Threads,
        scope: Scope,
        describe: Callable[[BaseException], HookError],
        on_end: Callable[[HookError | None], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.port = port(self.loop)
        self.home = threading.get_ident()
        self.cpu: float | None = None
        self.interrupted = False
        self.ended = False
        self.gentle = False  # a generator is being pumped: it gets a moment to be closed between two items
        self.profile: Profile | None = None
        """Watches the stages, where a profile is wanted."""
        self._threads = threads
        self._describe = describe
        self._on_end = on_end
        self._context = contextvars.copy_context()
        self._context.run(current.set, scope)
        self._waiters: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._entered = False
        self._thread: int | None = None  # whose Python code may be interrupted now; changes under the lock only
        self._lock = threading.Lock()
        self._pushes = 0
        self._waits = 0

    def start(self, stage: Stage) -> None:
        """Begins a stage. Its failure is described where it happens and given to ``on_end``."""
        self.gentle = False
        if self.profile is not None:
            around = self.profile.around if stage.threaded else self.profile.around_async
            stage = stage._replace(work=around(stage.work))
        if stage.threaded:
            self._task = None
            try:
                self._threads.submit(lambda: self._on_thread(stage.work))
            except RuntimeError as exc:
                self._end(HookError.saying("RuntimeError", f"No thread can be started for the call: {exc}."))
        else:
            self._entered = False
            self._task = self.loop.create_task(self._in_task(stage), context=self._context)

    def waiter(self) -> asyncio.Future[None]:
        """Returns a future that is done when the call has ended."""
        future = self.loop.create_future()
        if self.ended:
            future.set_result(None)
        else:
            self._waiters.append(future)
        return future

    async def stop(self) -> None:
        """Interrupts the call and waits for its end, but no longer than ``GRACE``."""
        self.interrupt()
        if not self.ended:
            await asyncio.wait({self.waiter()}, timeout=GRACE)

    def interrupt(self) -> None:
        """Stops the work, again until it ends: cancels a task, raises ``Interrupted`` in a thread's Python code."""
        if self.interrupted or self.ended:
            return
        self.interrupted = True
        if self.gentle:
            self.loop.call_later(GENTLE_PAUSE, self._push)
        else:
            self._push()

    def release(self) -> None:
        """Lets those go on who wait for the end, although it has not come yet."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def on_loop(self) -> bool:
        """Returns whether the caller is on the loop's thread."""
        return threading.get_ident() == self.home

    def _push(self) -> None:
        if self.ended:
            return
        pauses: tuple[float, ...] = THREAD_PAUSES
        if self._task is not None:
            pauses = TASK_PAUSES
            if self._entered:  # a task cancelled before its first step would never come to its end here
                self._task.cancel()
        else:
            with self._lock:
                ident = self._thread
                if ident is not None:
                    if self._waits < DELICATE_TRIES and is_delicate(ident):
                        self._waits += 1
                        self.loop.call_later(DELICATE_PAUSE, self._push)
                        return
                    self._waits = 0
                    raise_in_thread(ident, Interrupted)
        pause = pauses[min(self._pushes, len(pauses) - 1)]
        self._pushes += 1
        self.loop.call_later(pause, self._push)

    async def _in_task(self, stage: Stage) -> None:
        self._entered = True
        following, error = None, None
        try:
            if self.interrupted:
                if isinstance(stage.subject, Coroutine):
                    stage.subject.close()
                raise Interrupted
            following = await stage.work()
        except BaseException as exc:  # also what author code raises to end the process
            error = self._described(exc)
        if following is None or error is not None:
            self._end(error)
        else:
            # later: this step of the task is still inside the context that the next stage enters
            self.loop.call_soon(self.start, following)

    def _on_thread(self, work: Callable[[], Stage | None]) -> None:
        ident = threading.get_ident()
        began = time.thread_time()
        following: Stage | None = None
        error: HookError | None = None
        # An interruption may arrive at any call below, once for each time it was raised. `with` on a lock takes and
        # gives it without a gap, so after the second one nobody raises any more and what was raised has arrived.
        try:
            try:
                with self._lock:
                    self._thread = ident
                try:
                    if self.interrupted:
                        raise Interrupted
                    following = self._context.run(work)
                except BaseException as exc:
                    error = self._context.run(self._described, exc)
            finally:
                with self._lock:
                    self._thread = None
        except BaseException as exc:
            error = HookError.saying(name_of(exc), "The call was interrupted while it ended.")
        if self.interrupted:
            try:
                raise_in_thread(ident, None)
            except Interrupted:
                following = None
        self.port.post(self._thread_done, following, error, time.thread_time() - began)

    def _thread_done(self, following: Stage | None, error: HookError | None, cpu: float) -> None:
        self.cpu = cpu + (self.cpu or 0.0)
        if following is None or error is not None:
            self._end(error)
        else:
            self.start(following)

    def _described(self, exc: BaseException) -> HookError:
        if isinstance(exc, HookError):
            return exc
        try:
            return self._describe(exc)
        except BaseException as trouble:  # an attribute of the author's exception may raise anything
            return HookError.saying(name_of(exc), f"The failure cannot be described: {name_of(trouble)}.")

    def _end(self, error: HookError | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._task = None
        on_end, self._on_end, self._describe = self._on_end, _nothing, _undescribed  # no cycle outlives the call
        on_end(error)
        self.release()


def _nothing(_: HookError | None) -> None:
    """Stands where the call was told of its end."""


def _undescribed(exc: BaseException) -> HookError:
    return HookError.saying(name_of(exc), "The call had ended before.")
