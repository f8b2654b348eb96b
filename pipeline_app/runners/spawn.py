"""Workers without a zygote, for platforms where a process must not be forked without a new program in it (macOS).

Each is started as an interpreter of its own, which costs most of a second and the memory of all that it imports.
What confines it there: another process, a clean environment and resource limits. No boundary for files and network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipeline_app.runners.forked import Ends, Forked, Json, NotStarted, ZygoteGone, wids
from pipeline_app.runners.launch import command, environment, switches
from pipeline_app.runners.layers import WORKER_PACKAGE, Layers
from pipeline_app.runners.scratch import Scratch
from pipeline_app.runners.zygote import FORK_SECONDS

LOOK_SECONDS = 0.05
"""How often it is looked whether a worker has ended."""


class Spawner:
    """Starts workers, with the methods of a ``Zygote``. Nothing could die here, so ``on_end`` is not called."""

    def __init__(
        self,
        scratch: Scratch,
        *,
        layers: Layers,
        prefix: Sequence[str] = (),
        site: Sequence[Path | str] = (),
        readable: Iterable[Path | str] = (),
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.alive = False
        self.pid = 0
        self.up: Json = {}
        self._scratch = scratch
        self._layers = layers
        self._prefix = prefix
        self._site = [os.path.realpath(folder) for folder in site]
        self._readable = [str(path) for path in dict.fromkeys((*readable, *self._site, WORKER_PACKAGE))]
        self._workers: dict[int, Forked] = {}
        self._watching: set[asyncio.Task[None]] = set()

    @property
    def workers(self) -> list[Forked]:
        """The workers that have not ended."""
        return list(self._workers.values())

    async def start(self) -> None:
        """Makes it usable; no process is started before it is needed."""
        self.alive = True

    async def fork(self, config: Json) -> Forked:
        """Returns a new worker, as ``Zygote.fork`` does. Raises ``ZygoteGone`` or ``NotStarted``."""
        if not self.alive:
            raise ZygoteGone("Workers are not started any more.")
        wid = next(wids)
        try:
            folder = self._scratch.folder(wid)
            ends = Ends()
        except OSError as error:  # no room on the disk, or no descriptor left
            await asyncio.to_thread(self._scratch.drop, wid)
            raise NotStarted(f"A worker cannot be started: {error}.") from error
        worker = self._workers[wid] = Forked(wid, folder, ends.main, ends.sync, ends.log)
        whole = {
            "readable": self._readable,
            **config,
            **switches(self._layers),
            "base": self._site,
            "scratch": str(folder),
            "network": "none" if config["network"] == "none" else "unbrokered",  # nothing can trap its connections
        }
        try:
            process = await asyncio.to_thread(self._launch, ends)
            ends.close_theirs()
            worker.pid = process.pid
            worker.kill_with = lambda _: process.kill()
            watching = asyncio.create_task(self._watch(worker, process), name=f"worker {process.pid}")
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)
            ends.boot.send(json.dumps(whole).encode())
            async with asyncio.timeout(FORK_SECONDS):
                await ends.booted(worker)
            self._scratch.note(wid, worker.pid)
        except BaseException as error:
            worker.close()
            worker.kill()
            if not worker.pid:
                del self._workers[wid]
                await asyncio.to_thread(self._scratch.drop, wid)
            if isinstance(error, TimeoutError):
                raise NotStarted(f"A worker was not ready within {FORK_SECONDS:g} s.") from None
            if isinstance(error, OSError):
                raise NotStarted(f"A worker cannot be started: {error}.") from error
            raise
        finally:
            ends.close_theirs()
            ends.boot.close()
        return worker

    def _launch(self, ends: Ends) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command("spawned", *ends.theirs, prefix=self._prefix),
            pass_fds=ends.theirs,
            env=environment(self._scratch.path),
            cwd=self._scratch.path,
            stdin=subprocess.DEVNULL,
            stdout=ends.theirs[-1],
            stderr=ends.theirs[-1],
        )

    async def _watch(self, worker: Forked, process: subprocess.Popen[bytes]) -> None:
        while (code := process.poll()) is None:
            await asyncio.sleep(LOOK_SECONDS)
        del self._workers[worker.wid]
        try:
            await asyncio.to_thread(self._scratch.drop, worker.wid)
        finally:
            worker.exited(-code if code < 0 else code << 8)

    async def close(self) -> None:
        """Ends every worker and waits until nothing of them is left. May be repeated."""
        self.alive = False
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
        while self._watching:
            await asyncio.wait(set(self._watching))
