"""A worker's life once it is confined: it reads what the server asks, does it, and tells how it ended.

Messages are JSON arrays (``protocol.py``); ``id`` tells the server's questions apart. From the server:

    ["load", id, {"function_id", "number", "sha256", "source", "imports", "output_mb", "sync_threads"}]
    ["about", id, "manifest" | "validate" | "options" | "read" | "check" | "probe", payload]
    ["call", id, hook, payload, context, valves, user_valves, can_ask]      one value
    ["stream", id, payload, context, valves, user_valves, can_ask]          a pipe, answered by items
    ["stop", id, message]   ["credit", id, bytes]   ["ping", n]
    ["reply", n, ok, value]   ["part", n, value]                            answers to host calls

To the server:

    ["items", id, [item, ...]]   ["event", id, {...}]   ["pong", n]
    ["done", id, {"value", "metadata", "cpu", "output", "error"}]           once for each of the first four, at its end
    ["host", n, id, method, params]   ["take", n, bytes]   ["drop", n]      host calls, pieces of answers taken, and
                                                                            answers that are not wanted any more

``error`` is None or ``{"kind": "hook" | "load" | "valves", "data" | "errors"}``.
"""

from __future__ import annotations

import asyncio
import os
import site
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, NoReturn

from . import compat, hosts, inspection, loader, valves
from .answers import Event, Whole
from .calls import Call
from .errors import HookError, LoadError, ValvesError
from .hosts import Requests, SyncLine, WorkerHost
from .jsonable import name_of
from .loader import Loaded
from .outgoing import Outgoing
from .protocol import ASK, BATCH, WINDOW, Reader, TooLong, encode, frame_limit, packed
from .threads import InContext, Threads
from .tracebacks import text_of
from .work import Question, Work

# Taken now: author code may put something else in their place.
_read, _write, _exit = os.read, os.write, os._exit
_out_of_sight = asyncio.tasks._unregister_task

CHUNK = 256 * 1024
MOST_ASKED = 2**31 - 1
BROKEN = 70
"""The exit status of a worker that cannot go on."""
MOST_TROUBLES = 100
"""How often author code may break out of the loop before the worker ends."""
LOAD_STACK = 8 * 1024 * 1024
"""Bytes of stack for loading: the parser's recursion is bounded by more than the 1 MiB of other threads."""

Error = dict[str, Any]


class Job:
    """Something the server asked for and has not been told the end of yet."""

    def __init__(self, number: int, work: Work) -> None:
        self.number = number
        self.work = work
        self.stopped = False
        self.outstanding = 0
        self.task: asyncio.Task[None] | None = None
        self._credit: asyncio.Future[None] | None = None

    async def allowance(self, size: int) -> None:
        """Waits until ``size`` more bytes of items may be under way, or the job is stopped."""
        while self.outstanding and self.outstanding + size > WINDOW and not self.stopped:
            self._credit = asyncio.get_running_loop().create_future()
            await self._credit
        self.outstanding += size

    def credit(self, size: int) -> None:
        """Takes note that the server's consumer has taken ``size`` bytes."""
        self.outstanding -= size
        self._go_on()

    def stop(self, message: str, kind: str = "Interrupted") -> None:
        """Stops the work. Its end is told when it has come."""
        self.stopped = True
        self.work.interrupt(message, kind)
        self._go_on()

    def _go_on(self) -> None:
        if self._credit is not None and not self._credit.done():
            self._credit.set_result(None)


class Serving:
    """The worker of one function version, on its main thread's loop."""

    def __init__(self, main: int, line: SyncLine, folders: Sequence[str] = ()) -> None:
        self.loop = asyncio.new_event_loop()
        self.line = line
        self._main = main
        self._outgoing = Outgoing(self.loop, main)
        self._requests = Requests(self.loop, self._outgoing.write)
        self._reader = Reader(MOST_ASKED, None)
        self._jobs: dict[int, Job] = {}
        self._loads = Threads("load", stack=LOAD_STACK)
        self._loaded: Loaded | None = None
        self._folders = list(folders)
        self._function_id = ""
        self._output_mb = 16
        self._handlers: dict[str, Callable[..., None]] = {
            "load": self._load,
            "about": self._about,
            "call": self._call,
            "stream": self._stream,
            "stop": self._stop,
            "credit": self._credit,
            "ping": lambda number: self._outgoing.write(encode(["pong", number])),
            "reply": self._requests.reply,
        }

    def run(self) -> NoReturn:
        """Serves until the server closes its end."""
        asyncio.set_event_loop(self.loop)
        self.loop.set_default_executor(InContext())
        hosts.fall_back_on(self._only_host)
        self.loop.add_reader(self._main, self._on_readable)
        for _ in range(MOST_TROUBLES):
            try:
                while True:
                    self.loop.run_forever()  # ends when author code stops the loop
            except (
                BaseException
            ) as trouble:  # SystemExit from a task of the author's own, or whatever his signals raise
                with suppress(OSError):  # he may have closed it
                    _write(2, f"The worker's loop was left by {type(trouble).__name__}.\n".encode())
        _exit(BROKEN)

    # --- messages ----------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            data = _read(self._main, CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            _exit(0)
        for size, (kind, *rest) in self._reader.feed(data):
            if kind == "part":
                number, value = rest
                self._requests.part(number, value, size)
            else:
                self._handlers[kind](*rest)

    def _stop(self, number: int, message: str) -> None:
        job = self._jobs.get(number)
        if job is not None:
            job.stop(message)

    def _credit(self, number: int, size: int) -> None:
        job = self._jobs.get(number)
        if job is not None:
            job.credit(size)

    # --- questions ---------------------------------------------------------------------------------------

    def _load(self, number: int, code: dict[str, Any]) -> None:
        self._output_mb = code["output_mb"]
        self._function_id = code["function_id"]
        named = ("function_id", "number", "sha256", "source", "imports")

        def load() -> None:
            if self._loaded is not None:
                raise RuntimeError("A worker serves one version of one function, and has it already.")
            self._find_packages()
            loaded = loader.load(**{name: code[name] for name in named})
            loaded.threads.most = code["sync_threads"]
            self._loaded = loaded

        self._begin(number, Question(self._loads, load), self._answer)

    def _about(self, number: int, question: str, payload: Any) -> None:
        threads = self._loaded.threads if self._loaded is not None else self._loads
        self._begin(number, Question(threads, partial(self._answer_to, question, payload)), self._answer)

    def _answer_to(self, question: str, payload: Any) -> Any:
        if question == "probe":
            from . import probes

            return probes.run(payload)
        if question == "read":
            from . import checking

            self._find_packages()
            return checking.read(payload)
        loaded = self._loaded_function()
        match question:
            case "manifest":
                return inspection.manifest(loaded)
            case "validate":
                return valves.validate(loaded, payload["scope"], payload["values"])
            case "options":
                return valves.options(loaded, payload["scope"], payload["user"])
            case "check":
                from . import checking

                return checking.look_at(loaded, payload)
        raise ValueError(f"Nobody can answer the question {question!r}.")

    def _find_packages(self) -> None:
        """Makes the function's own packages importable, once. Lines of their .pth files run here, as its code does."""
        compat.install()  # ours, also where one of its packages brings the same name
        while self._folders:
            site.addsitedir(self._folders.pop(0))

    # --- calls -------------------------------------------------------------------------------------------

    def _call(self, number: int, hook: str, *given: Any) -> None:
        call = self._made(number, hook, *given)
        self._begin(number, call, self._answer, call.start)

    def _stream(self, number: int, *given: Any) -> None:
        self._begin(number, self._made(number, "pipe", *given), self._answer_by_items)

    def _made(self, number: int, hook: str, payload: Any, context: Any, stored: Any, users: Any, can_ask: bool) -> Call:
        host = WorkerHost(number, self._requests, self.line)
        return Call(
            self._loaded_function(),
            hook,
            payload,
            context,
            stored,
            users,
            emit=partial(self._emit, number),
            ask=partial(host.call, ASK) if can_ask else None,
            host=host,
            congested=self._is_crowded,
            output_limit=self._output_mb * 1024 * 1024,
        )

    def _loaded_function(self) -> Loaded:
        if self._loaded is None:
            raise RuntimeError("No function is loaded.")
        return self._loaded

    def _is_crowded(self) -> bool:
        return self._outgoing.crowded

    def _only_host(self) -> WorkerHost | None:
        """Returns the server as the one call that runs may ask it; None when there are more, or none."""
        running = [number for number, job in list(self._jobs.items()) if isinstance(job.work, Call)]
        return WorkerHost(running[0], self._requests, self.line) if len(running) == 1 else None

    def _emit(self, number: int, event: Event) -> None:
        job = self._jobs.get(number)
        if job is None or job.stopped:
            return
        try:
            self._outgoing.write(encode(["event", number, event], frame_limit(self._output_mb)))
        except TooLong:
            job.stop(self._too_much("emitted an event of"), "OutputLimit")

    # --- answers -----------------------------------------------------------------------------------------

    def _begin(
        self,
        number: int,
        work: Any,
        answer: Callable[[Job, Any], Awaitable[dict[str, Any] | None]],
        start: Callable[[], None] | None = None,
    ) -> None:
        job = self._jobs[number] = Job(number, work)
        if start is not None:
            with suppress(Exception):  # whoever waits for the answer tries again, and tells what is wrong
                start()
        job.task = self.loop.create_task(self._end(job, answer(job, work)))
        _out_of_sight(job.task)  # of author code that cancels all tasks it sees

    async def _end(self, job: Job, answering: Awaitable[dict[str, Any] | None]) -> None:
        """Tells how a job ended, when no author code of it runs any more."""
        value: Any = None
        error: Error | None = None
        try:
            try:
                value = await answering
            except HookError as failure:
                error = {"kind": "hook", "data": failure.data}
            except LoadError as failure:
                error = {"kind": "load", "data": failure.data}
            except ValvesError as failure:
                error = {"kind": "valves", "errors": failure.errors}
        except BaseException as failure:  # whatever author code has done to this process, somebody waits for an end
            error = _unsendable(failure)
        while not job.work.ended:
            await job.work.wait_ended()
        if self._outgoing.crowded:
            await self._outgoing.room()
        del self._jobs[job.number]
        self._outgoing.write(self._done(job, value, error), at_once=not self._jobs)

    async def _answer(self, job: Job, work: Call | Question) -> Any:
        value = await work.value()
        return value.value if isinstance(value, Whole) else value

    async def _answer_by_items(self, job: Job, call: Call) -> None:
        async with aclosing(call.items()) as answer:
            async for items in answer:
                for frame in self._frames(job.number, packed(items)):
                    await job.allowance(len(frame))
                    if self._outgoing.crowded:
                        await self._outgoing.room()
                    if not job.stopped:
                        self._outgoing.write(frame)

    def _frames(self, number: int, items: list[Any]) -> Iterator[bytes]:
        """Yields items as frames of about ``BATCH`` bytes. Raises ``HookError`` at one that is too long by itself."""
        limit = frame_limit(self._output_mb)
        try:
            frame = encode(["items", number, items], limit)
            if len(frame) <= BATCH or len(items) == 1:
                yield frame
                return
        except TooLong:
            if len(items) == 1:
                message = self._too_much("answered a chunk of")
                raise HookError.saying("OutputLimit", message) from None
        half = len(items) // 2
        yield from self._frames(number, items[:half])
        yield from self._frames(number, items[half:])

    def _too_much(self, what: str) -> str:
        return f"{self._function_id} {what} more than the limit of {self._output_mb:g} MB (output_mb)."

    def _done(self, job: Job, value: Any, error: Error | None) -> bytes:
        work = job.work
        told = {
            "value": value if error is None else None,
            "metadata": work.metadata if isinstance(work, Call) else None,
            "cpu": work.cpu,
            "output": work.output,
            "error": error,
        }
        if work.profile is not None:
            told["profile"] = work.profile.told()
        try:
            return encode(["done", job.number, told], frame_limit(self._output_mb))
        except TooLong:
            error = {"kind": "hook", "data": HookError.saying("OutputLimit", self._too_much("returned")).data}
        except Exception as failure:
            error = _unsendable(failure)
        told |= {"value": None, "metadata": None, "error": error}
        return encode(["done", job.number, told])


def _unsendable(failure: BaseException) -> Error:
    said = f"The answer cannot be sent: {text_of(failure)[:200]}."
    return {"kind": "hook", "data": HookError.saying(name_of(failure), said).data}


def serve(main: int, line: SyncLine, folders: Sequence[str] = ()) -> NoReturn:
    """Serves over the descriptor ``main``, with ``line`` for blocking host calls, until the server has gone.

    ``folders`` hold the function's own packages; they come last on the path.
    """
    os.set_blocking(main, False)
    Serving(main, line, folders).run()
