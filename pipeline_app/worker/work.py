"""What is done with a function, watched: run on the loop or a thread, its output captured, stopped when it has to be.

Calls of hooks are work (``calls.py``), and so are questions about a function: loading it, its manifest, its schemas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import ref

from . import output as outputs
from .errors import HookError, Interrupted, LoadError, ValvesError
from .hosts import Host
from .profile import Profile
from .running import Running, Stage
from .scope import Scope
from .threads import Threads
from .tracebacks import describe


class Work:
    """Something that runs once, and that may be interrupted before and while it does."""

    def __init__(self, host: Host | None = None) -> None:
        self.result: Any = None
        self.host = host
        """The server, as it may ask it."""
        self._error: HookError | None = None
        self._interrupted = False
        self._running: Running | None = None
        self._output = outputs.Output()
        self.profile: Profile | None = None
        """Where its time goes, when that is wanted."""

    def interrupt(self, message: str = "The call was stopped.", kind: str = "Interrupted") -> None:
        """Stops the work: a task is cancelled, a generator closed between two items, running Python code interrupted.

        Goes on until the author's code has ended. Whoever waits for it gets a ``HookError`` of type ``kind`` with
        this message. From any thread.
        """
        running = self._running
        if running is None:
            self._error = HookError.saying(kind, message)
            self._interrupted = True
        elif running.on_loop():
            self._interrupt(running, message, kind)
        elif not running.loop.is_closed():
            running.loop.call_soon_threadsafe(self._interrupt, running, message, kind)

    @property
    def ended(self) -> bool:
        """Whether no author code of this work runs any more (or yet)."""
        return self._running is None or self._running.ended

    async def wait_ended(self, timeout: float | None = None) -> bool:
        """Waits until no author code of this work runs any more; returns False when it still does after ``timeout``.

        An interruption ends the wait too.
        """
        if self._running is not None and not self._running.ended:
            await asyncio.wait({self._running.waiter()}, timeout=timeout)
        return self.ended

    @property
    def output(self) -> list[dict[str, str]]:
        """What it printed and logged: ``[{"stream" | "level", "text"}]``, at most 64 KB."""
        return self._output.lines()

    @property
    def failed(self) -> dict[str, Any] | None:
        """What it failed with, see ``HookError``; None when it did not, or not yet."""
        return None if self._error is None else self._error.data

    @property
    def cpu(self) -> float | None:
        """Seconds of CPU time of its threads, after it has ended; None when everything ran on the loop."""
        return self._running.cpu if self._running is not None else None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs on."""
        assert self._running is not None
        return self._running.loop

    def _begin(self, threads: Threads, instance: object, stage: Stage) -> Running:
        if self._running is not None:
            raise RuntimeError(f"A {type(self).__name__} is used once; make another one.")
        outputs.install()
        self._scope = Scope(instance, self._output, self.host, ref(self))
        running = self._running = Running(threads, self._scope, self._failure, self._on_end)
        running.profile = self.profile
        if self._interrupted:
            running.interrupted = True
        try:
            running.start(stage)
        except BaseException:
            self._running = None  # it has not begun
            raise
        return running

    def _interrupt(self, running: Running, message: str, kind: str) -> None:
        if running.ended:
            return
        self._error = HookError.saying(kind, message)
        self._interrupted = True
        running.interrupt()
        running.release()

    def _on_end(self, error: HookError | None) -> None:
        if not self._interrupted:
            self._error = error
        elif error is not None and self._error is not None:
            # The words are those of who stopped it; the place is where it was then.
            self._error.data.update({name: error.data[name] for name in ("line", "traceback")})

    def _failure(self, exc: BaseException) -> HookError:
        """Returns what the author's exception says; status and detail are those of an ``HTTPException``."""
        if (
            isinstance(exc, (Interrupted, asyncio.CancelledError))
            and self._running is not None
            and self._running.interrupted
        ):
            told = {**self._described(exc), "type": "Interrupted", "message": "The call was stopped."}
            return HookError({**told, "status": None, "detail": None})
        return HookError({**self._described(exc), "status": None, "detail": None})

    def _described(self, exc: BaseException) -> dict[str, Any]:
        return describe(exc, "")


class Question(Work):
    """A question about a function, answered on one of ``threads`` by ``answer()``."""

    def __init__(self, threads: Threads, answer: Callable[[], Any]) -> None:
        super().__init__()
        self._threads = threads
        self._answer = answer
        self._refusal: LoadError | ValvesError | None = None

    async def value(self) -> Any:
        """Returns the answer. Raises ``LoadError`` or ``ValvesError`` as ``answer`` does, else ``HookError``."""
        await self._begin(self._threads, None, Stage(True, self._on_thread)).waiter()
        error = self._error or self._refusal
        if error is not None:
            raise error
        return self.result

    def _on_thread(self) -> None:
        try:
            self.result = self._answer()
        except (LoadError, ValvesError) as error:
            self._refusal = error
