"""Who runs code for the rest of the project: one runner and one catalog per process.

The runner lives on the server's event loop while the server runs; elsewhere (management commands,
tests) on a private loop in a thread of its own. The answers to the data app's questions are
synchronous for their callers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.utils.module_loading import import_string

from functions_app import generation
from functions_app.policy import Policy
from functions_app.runtime import Scope
from pipeline_app.pipes import Catalog
from pipeline_app.runners.base import Code, Runner
from pipeline_app.runs import log
from pipeline_app.snapshot import snapshot

if TYPE_CHECKING:
    from functions_app.models import FunctionVersion, User

T = TypeVar("T")

RUNNERS = {"inline": "pipeline_app.runners.inline.InlineRunner"}
"""The values of ``FUNCTIONS_RUNNER``."""


class Engine:
    """The runner of this process, and the loop it lives on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.catalog = Catalog(lambda: self.runner)

    @property
    def runner(self) -> Runner:
        """The runner, made on first use."""
        if self._runner is None:
            with self._lock:
                if self._runner is None:
                    self._runner = import_string(RUNNERS[settings.FUNCTIONS_RUNNER])()
        return self._runner

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that author code's calls are made on: the server's, else a private one."""
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="functions loop", daemon=True).start()
            return self._loop

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits for it; not to be called on that loop."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            future.cancel()
            raise

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Holds while the server runs: takes its loop, keeps writing runs, watches generations; then stops all."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
        tasks = [
            asyncio.create_task(snapshot.watch(), name="generation watch"),
            asyncio.create_task(log.keep_writing(), name="run writer"),
        ]
        # What is loaded by now stays: looking through it again and again cost a tenth of all CPU time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        try:
            yield
        finally:
            gc.unfreeze()
            if self._runner is not None:
                await self._runner.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            with self._lock:
                self._loop = self._runner = None


engine = Engine()


def code_of(version: FunctionVersion) -> Code:
    """Returns a version, saved or not, as runners know it."""
    return Code(
        version.function_id,
        version.number,
        version.sha256,
        version.source,
        Policy.resolve(version.function.policy, settings.FUNCTIONS_POLICY),
        version.manifest or {},
        version.pk,
        generation.epoch(),
    )


class ServerRuntime:
    """Answers the data app's questions (``functions_app.runtime.Runtime``) with this process's runner."""

    def prepare(self, version: FunctionVersion) -> None:
        from pipeline_app.runners.environments import check_requirements

        check_requirements(version.requirements)

    def inspect(self, version: FunctionVersion) -> dict[str, Any]:
        return engine.wait_for(engine.runner.inspect(code_of(version)))

    def validate(self, version: FunctionVersion, scope: Scope, values: dict[str, Any]) -> dict[str, Any]:
        return engine.wait_for(engine.runner.validate(code_of(version), scope, values))

    def options(self, version: FunctionVersion, scope: Scope, user: User | None) -> dict[str, Any] | None:
        told = user.to_wire() if user is not None else None
        return engine.wait_for(engine.runner.options(code_of(version), scope, told))

    def run(self, version: FunctionVersion, hook: str, **given: Any) -> dict[str, Any]:
        from pipeline_app.trial import try_hook

        return engine.wait_for(try_hook(engine.runner, code_of(version), hook, **given))

    def forget(self, function_id: str | None = None) -> None:
        engine.runner.forget(function_id)
