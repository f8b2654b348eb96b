"""Who runs code for the rest of the project: one runner and one catalog per process.

The runner lives on the server's event loop while the server runs; elsewhere (management commands,
tests) on a private loop in a thread of its own. The answers to the data app's questions are
synchronous for their callers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django.utils.module_loading import import_string

from functions_app import generation
from functions_app.acting import acting, acting_as
from functions_app.policy import Policy
from functions_app.runtime import LoadError, Packed, Scope, ShuttingDown
from pipeline_app import leaving, packing, preparing, publishing, upkeep
from pipeline_app.background import Backgrounds
from pipeline_app.building import Builder, give_back
from pipeline_app.codes import code_in
from pipeline_app.completions import Completions
from pipeline_app.database import in_database
from pipeline_app.dispatch import Dispatcher
from pipeline_app.hostcalls import HostCalls
from pipeline_app.mailbox import Mailbox
from pipeline_app.models import Trip
from pipeline_app.pipes import Catalog
from pipeline_app.runners import environments
from pipeline_app.runners.base import Code, Runner
from pipeline_app.runners.breaker import Opening
from pipeline_app.runners.destinations import log as destinations
from pipeline_app.runners.elsewhere import Elsewhere
from pipeline_app.runs import log
from pipeline_app.snapshot import snapshot

if TYPE_CHECKING:
    from functions_app.models import Environment, FunctionVersion, User

logger = logging.getLogger(__name__)

T = TypeVar("T")

RUNNERS = {
    "inline": "pipeline_app.runners.inline.InlineRunner",
    "process": "pipeline_app.runners.process.ProcessRunner",
}
"""The values of ``FUNCTIONS_RUNNER``."""
STOP_SECONDS = 20.0
"""How long a server that stops waits for what it is publishing to be given back."""


class Engine:
    """The runner of this process, and the loop it lives on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.catalog = Catalog(lambda: self.runner)
        self.mailbox = Mailbox(lambda: self.runner)
        self.backgrounds = Backgrounds(lambda: self.runner)
        self.builder = Builder()
        self.serves = False
        """Whether a server runs in this process."""

    @property
    def runner(self) -> Runner:
        """The runner, made on first use, as the running loop may use it."""
        runner = self._runner
        if runner is None:
            with self._lock:
                runner = self._runner = self._runner or _runner()
        if not runner.one_loop:
            return runner
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            return runner
        return runner if here is self._loop else Elsewhere(runner, self.loop)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that author code's calls are made on: the server's, else a private one."""
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="functions loop", daemon=True).start()
            return self._loop

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits for it; not to be called on that loop.

        It knows who is acting, and nothing else of the caller's context: in that of a request it would wait for the
        thread that waits for it here, as soon as it used the database, and a worker that it starts would for good.
        """
        who = acting()

        def begin() -> concurrent.futures.Future[T]:
            with acting_as(*who):
                return asyncio.run_coroutine_threadsafe(work, self.loop)

        future = contextvars.Context().run(begin)
        try:
            return future.result()
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            future.cancel()
            raise

    async def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes a loop; a runner that has lived on another one ends there."""
        with self._lock:
            old, runner = self._loop, self._runner
            self._loop, self._runner = loop, None
        if old is not None and runner is not None and not old.is_closed():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(runner.close(), old))

    def _leave(self) -> None:
        """Ends background runs as soon as the server is told to stop: who follows them would hold it up."""

        def close() -> None:
            closing = asyncio.ensure_future(self.backgrounds.close())
            _noting.add(closing)
            closing.add_done_callback(_noting.discard)

        self.loop.call_soon_threadsafe(close)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Holds while the server runs: takes its loop, keeps writing runs, watches generations; then stops all."""
        await self._move_to(asyncio.get_running_loop())
        self.backgrounds.closing = preparing.stopping = False
        await self.runner.open()
        dispatcher = Dispatcher(lambda: self.runner)
        await dispatcher.starts()
        deliveries = asyncio.create_task(dispatcher.run(), name="event dispatcher")
        tasks = [
            asyncio.create_task(snapshot.watch(), name="generation watch"),
            asyncio.create_task(log.keep_writing(), name="run writer"),
            asyncio.create_task(destinations.keep_writing(), name="destination writer"),
            asyncio.create_task(self.mailbox.keep_looking(), name="mailbox"),
            asyncio.create_task(upkeep.keep(), name="upkeep of packages"),
        ]
        builder = asyncio.create_task(self.builder.run(), name="builder")
        # What is loaded by now stays: looking through it again and again cost a tenth of all CPU time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        try:
            await dispatcher.started()
            self.serves = True
            with leaving.told(self._leave):
                yield
        finally:
            self.serves = False
            gc.unfreeze()
            preparing.stopping = True
            builder.cancel()
            await asyncio.wait({builder})
            environments.interrupt()
            await self.backgrounds.close()
            deliveries.cancel()
            await asyncio.wait({deliveries})
            await dispatcher.stops()
            if self._runner is not None:
                try:
                    await self._runner.close()
                except Exception:  # what is still to be written is written all the same
                    logger.exception("The runner can't be closed in good order")
            await self._give_back()
            if _noting:
                await asyncio.wait(_noting)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            preparing.stopping = False
            await dispatcher.stopped()
            with self._lock:
                self._loop = self._runner = None

    async def _give_back(self) -> None:
        """Waits until what is being published or built has noticed that the process ends, and was given back."""
        end = asyncio.get_running_loop().time() + STOP_SECONDS
        while rest := publishing.going() | self.builder.tasks:
            if asyncio.get_running_loop().time() > end:
                logger.warning("Publishing goes on in %d cases; others take that up when the claims end", len(rest))
                break
            environments.interrupt()  # also what has begun since
            await asyncio.wait(rest, timeout=0.2)
        try:
            await in_database(give_back)
        except DatabaseError:
            logger.exception("Claims on what is being published can't be given back; they end by themselves")


engine = Engine()


def _runner() -> Runner:
    """Returns the runner that the settings name."""
    made: Runner
    host_calls = HostCalls(Completions(lambda: engine.runner, engine.catalog))
    if settings.FUNCTIONS_RUNNER == "process":
        made = import_string(RUNNERS["process"])(
            host_calls=host_calls,
            on_trip=_note_trip,
            idle_seconds=settings.FUNCTIONS_WORKER_IDLE,
            memory_mb=settings.FUNCTIONS_WORKER_MEMORY_MB,
        )
    else:
        made = import_string(RUNNERS[settings.FUNCTIONS_RUNNER])(host_calls=host_calls)
    return made


_noting: set[asyncio.Task[Any]] = set()


def _note_trip(opening: Opening) -> None:
    """Writes down that a breaker opened, off the path of requests."""

    def note() -> None:
        until = datetime.fromtimestamp(opening.until, tz=timezone.get_default_timezone())
        process = f"{socket.gethostname()}:{os.getpid()}"
        Trip.objects.note(opening.function_id, opening.number, until, opening.reason, opening.log, process)

    async def write() -> None:
        try:
            await in_database(note)
        except DatabaseError:
            logger.exception("That '%s' crashed too often could not be written down", opening.function_id)

    task = asyncio.get_running_loop().create_task(write(), name="note trip")
    _noting.add(task)
    task.add_done_callback(_noting.discard)


def code_of(version: FunctionVersion, epoch: str | None = None) -> Code:
    """Returns a version, saved or not, as runners know it.

    ``epoch`` is another than that of the installation, for code that is loaded aside; the database is not asked then,
    but for the environment of a version that has one.
    """
    if epoch is None:
        epoch = generation.epoch() + version.function.epoch
    policy = Policy.resolve(version.function.policy, settings.FUNCTIONS_POLICY)
    return code_in(epoch, version.function_id, version, policy)


def _verdict(work: Coroutine[Any, Any, T]) -> T:
    """Returns what a runner says of a version. Raises ``ShuttingDown`` in the place of an error while it is closed."""
    try:
        return engine.wait_for(work)
    except (LoadError, concurrent.futures.CancelledError) as error:
        if preparing.stopping:
            raise ShuttingDown("The server stops.") from error
        raise


class ServerRuntime:
    """Answers the data app's questions (``functions_app.runtime.Runtime``) with this process's runner."""

    def prepare(self, version: FunctionVersion) -> Environment | None:
        from pipeline_app.checking.text import check_text

        return preparing.prepare(version, lambda: _verdict(check_text(engine.runner, code_of(version, "check"))))

    def publish(self, version: FunctionVersion, **along: Any) -> bool | None:
        if not engine.serves:
            return version.publish(**along)
        return engine.wait_for(publishing.published(version, **along))

    def build(self) -> None:
        engine.builder.wake()

    def inspect(self, version: FunctionVersion) -> dict[str, Any]:
        return _verdict(engine.runner.inspect(code_of(version)))

    def validate(self, version: FunctionVersion, scope: Scope, values: dict[str, Any]) -> dict[str, Any]:
        return _verdict(engine.runner.validate(code_of(version), scope, values))

    def check(self, version: FunctionVersion) -> dict[str, Any]:
        from pipeline_app.checking import check
        from pipeline_app.checking.sets import look_up

        failure = look_up(version)
        return engine.wait_for(check(engine.runner, code_of(version, "check"), failure))

    def options(self, version: FunctionVersion, scope: Scope, user: User | None) -> dict[str, Any] | None:
        told = user.to_wire() if user is not None else None
        return engine.wait_for(engine.runner.options(code_of(version), scope, told))

    def run(self, version: FunctionVersion, hook: str, **given: Any) -> dict[str, Any]:
        from pipeline_app.trial import try_hook

        return engine.wait_for(try_hook(engine.runner, code_of(version), hook, **given))

    def forget(self, function_id: str | None = None) -> None:
        engine.runner.forget(function_id)

    def pack(self, version: FunctionVersion | None, folder: Path, say: Callable[[str], None]) -> Packed | None:
        return packing.pack_base(folder, say) if version is None else packing.pack(version, folder, say)

    def adopt(self, version: FunctionVersion | None, packed: Packed, say: Callable[[str], None]) -> None:
        if version is None:
            packing.adopt_base(packed, say)
        else:
            packing.adopt(version, packed, say)
