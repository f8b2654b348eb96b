"""The server's side of a zygote (``worker/__main__.py``): started, asked for workers, watched, ended with all of them.

When a zygote dies its workers live on: they finish what they do and are ended by their owner. New ones need a new
zygote, and ``on_end`` is where its owner decides about that.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline_app.runners.forked import Ends, Forked, NotStarted, ZygoteGone, wids
from pipeline_app.runners.headcount import thread_count
from pipeline_app.runners.launch import OPTIONAL, PRELOAD, launched, switches
from pipeline_app.runners.layers import WORKER_PACKAGE, Layers
from pipeline_app.runners.scratch import Scratch, started

__all__ = ("Forked", "NotStarted", "Zygote", "ZygoteGone")

logger = logging.getLogger(__name__)

PACKET = 256 * 1024
START_SECONDS = 60.0
FORK_SECONDS = 20.0
END_SECONDS = 5.0
FULL_PAUSE = 0.01
"""Seconds until a packet is offered again to a zygote that has not yet taken those before."""

Json = dict[str, Any]


class Zygote:
    """One zygote, from ``start`` to its death or ``close``. ``on_end`` is called when it died by itself.

    ``site`` are the folders of packages that workers find installed, ``readable`` is all that a worker may read;
    ``prefix`` are the words of the command that it runs under (``runners/bubblewrap.py``).
    """

    def __init__(
        self,
        scratch: Scratch,
        *,
        layers: Layers,
        prefix: Sequence[str] = (),
        site: Sequence[Path | str] = (),
        readable: Iterable[Path | str] = (),
        preload: Sequence[str] = PRELOAD,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.alive = False
        self._lost = False  # its end of the socket is closed
        self.up: Json = {}
        """What it told at its start: ``{"pid", "report", "failed": {module: why}, "missed": [modules], "threads"}``."""
        self._turn = asyncio.Lock()
        self._scratch = scratch
        self._layers = layers
        self._prefix = prefix
        self._site = [os.path.realpath(folder) for folder in site]
        self._readable = [str(path) for path in dict.fromkeys((*readable, *self._site, WORKER_PACKAGE))]
        self._preload = list(preload)
        self._on_end = on_end
        self._forks: dict[int, asyncio.Future[Json]] = {}
        self._workers: dict[int, Forked] = {}
        self._watched: dict[int, int] = {}  # when it is dead: wid to pidfd
        self._clearing: set[asyncio.Future[Any]] = set()
        self._said: deque[str] = deque(maxlen=30)

    @property
    def pid(self) -> int:
        """The process that forks, as it sees itself; 0 before the start."""
        return int(self.up.get("pid", 0))

    @property
    def workers(self) -> list[Forked]:
        """The workers that have not ended."""
        return list(self._workers.values())

    # --- start ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the process, which takes about a second of preloading. Raises ``NotStarted``."""
        self._loop = asyncio.get_running_loop()
        while True:
            told = await self._first_word()
            starts_thread = told.get("threads") or thread_count(told["up"]["pid"]) > 1
            if not starts_thread or not self._preload:
                break
            # Forking a process with threads copies their locks as they happen to be.
            await self._stop()
            if isinstance(starts_thread, str):
                logger.warning("%s starts a thread when it is imported, so it is not preloaded.", starts_thread)
                self._preload.remove(starts_thread)
            else:
                logger.warning("One of %s starts a thread, so nothing is preloaded.", ", ".join(self._preload))
                self._preload = []
        if self._lost:
            await self._stop()
            raise NotStarted("The process that makes workers ended as soon as it had started.")
        self.up = told["up"]
        self.alive = True
        for module, why in self.up["failed"].items():
            level = logging.DEBUG if module in OPTIONAL else logging.INFO
            logger.log(level, "%s is not preloaded for functions: %s", module, why)
        for note in self.up["report"]["notes"]:
            logger.info("The sandbox does without a layer: %s", note)

    async def _first_word(self) -> Json:
        self._first: asyncio.Future[Json] = self._loop.create_future()
        self._lost = False
        self._said.clear()
        launching = asyncio.ensure_future(asyncio.to_thread(self._launch))
        try:
            self._control, self._process, self._errors = await asyncio.shield(launching)
        except asyncio.CancelledError:  # the process comes all the same, and has to be ended
            self._control, self._process, self._errors = await launching
            await self._stop()
            raise
        self._loop.add_reader(self._control, self._on_packet)
        self._loop.add_reader(self._errors, self._on_errors)
        try:
            async with asyncio.timeout(START_SECONDS):
                return await self._first
        except (TimeoutError, ZygoteGone):
            await self._stop()
            said = "".join(self._said).strip()
            raise NotStarted(f"The process that makes workers did not start. {said}".strip()) from None
        except asyncio.CancelledError:
            await self._stop()
            raise

    def _launch(self) -> tuple[socket.socket, subprocess.Popen[bytes], int]:
        ours, process, said = launched(self._scratch.path, self._prefix)
        root = str(self._scratch.path)
        confine = {**switches(self._layers), "readable": self._readable, "writable": [root]}
        start = {"site": self._site, "preload": self._preload, "confine": confine, "root": root}
        with contextlib.suppress(OSError):  # it ended at once, which is noticed at the other end
            ours.send(json.dumps({"start": start}).encode())
        return ours, process, said

    # --- what it says --------------------------------------------------------------------------------------

    def _on_errors(self) -> None:
        try:
            data = os.read(self._errors, 64 * 1024)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._loop.remove_reader(self._errors)
            return
        text = data.decode("utf-8", "replace")[-4096:]
        self._said.append(text)
        logger.warning("The process that makes workers says: %s", text.rstrip())

    def _on_packet(self) -> None:
        for _ in range(64):
            try:
                data = self._control.recv(PACKET)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._died()
                return
            self._take(json.loads(data))

    def _take(self, message: Json) -> None:
        match message:
            case {"up": _} | {"threads": _}:
                if not self._first.done():
                    self._first.set_result(message)
            case {"forked": wid}:
                waiting = self._forks.pop(wid, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case {"exited": wid, "status": status, **usage}:
                self._exited(wid, status, usage)

    def _died(self) -> None:
        self._lost = True
        self._loop.remove_reader(self._control)
        if not self._first.done():
            self._on_errors()
            self._first.set_exception(ZygoteGone())
        if not self.alive:
            return
        self.alive = False
        logger.error("The process that makes workers (pid %s) ended; its workers finish what they do.", self.pid)
        self._give_up_forks()
        for worker in self.workers:
            self._watch(worker)
        self._on_errors()
        self._end_sockets()
        self._aside(self._end_process)
        self._on_end()

    def _give_up_forks(self) -> None:
        forks, self._forks = self._forks, {}
        for waiting in forks.values():
            if not waiting.done():
                waiting.set_exception(ZygoteGone("The process that makes workers ended."))

    # --- workers -------------------------------------------------------------------------------------------

    async def fork(self, config: Json) -> Forked:
        """Returns a new worker. ``config`` is a WorkerConfig (``runners/layers.py``) without its folder and layers.

        Raises ``ZygoteGone`` or ``NotStarted``.
        """
        if not self.alive:
            raise ZygoteGone("There is no process that makes workers.")
        wid = next(wids)
        try:
            folder = self._scratch.folder(wid)
            ends = Ends()
        except OSError as error:  # no room on the disk, or no descriptor left
            self._aside(self._scratch.drop, wid)
            raise NotStarted(f"A worker cannot be started: {error}.") from error
        worker = self._workers[wid] = Forked(wid, folder, ends.main, ends.sync, ends.log, kill_with=self._kill)
        readable = [*config.get("readable", self._readable), *config.get("site", ())]
        whole = {**config, **switches(self._layers), "scratch": str(folder), "readable": readable}
        waiting = self._forks[wid] = self._loop.create_future()
        try:
            async with asyncio.timeout(FORK_SECONDS):
                await self._send_in_turn({"fork": wid, "config": whole}, ends.theirs)
                ends.close_theirs()
                told = await waiting
                if told["pid"] is None:
                    self._exited(wid, None, {})
                    raise NotStarted(f"No worker could be forked: {told['why']}.")
                worker.pid = told["pid"]
                await ends.booted(worker)
            if worker.ended:
                raise NotStarted("A worker ended as soon as it was ready.")
            self._scratch.note(wid, worker.pid)
        except BaseException as error:
            self._forks.pop(wid, None)
            worker.close()
            worker.kill()
            if isinstance(error, TimeoutError):
                if not waiting.done() or waiting.cancelled():  # the process itself said nothing, not the new worker
                    self._replace()
                    raise ZygoteGone("The process that makes workers does not answer.") from None
                raise NotStarted(f"A worker was not ready within {FORK_SECONDS:g} s.") from None
            if isinstance(error, OSError):
                raise NotStarted(f"A worker cannot be started: {error}.") from error
            raise
        finally:
            ends.close_theirs()
            ends.boot.close()
        return worker

    def _replace(self) -> None:
        """Ends a process that has not forked for so long that it never will, so that another is started."""
        if self.alive:
            logger.error("The process that makes workers (pid %s) does not answer, so it is ended.", self.pid)
            self._end_at_once()

    async def _send_in_turn(self, message: Json, fds: Sequence[int]) -> None:
        """Sends a packet when the zygote has taken enough of those before."""
        async with self._turn:
            while True:
                try:
                    self._send(message, fds)
                    return
                except BlockingIOError:
                    await asyncio.sleep(FULL_PAUSE)

    def _send(self, message: Json, fds: Sequence[int] = ()) -> None:
        """Raises ``BlockingIOError`` when it has not yet taken what was sent before."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._control.sendmsg([json.dumps(message).encode()], rights)
        except BlockingIOError:
            raise
        except OSError as error:
            if isinstance(error, ConnectionError) or self._control.fileno() < 0:
                raise ZygoteGone(f"The process that makes workers has gone: {error}.") from None
            raise NotStarted(f"The process that makes workers cannot be asked: {error}.") from None

    def _exited(self, wid: int, status: int | None, usage: Json) -> None:
        if (worker := self._workers.pop(wid, None)) is not None:
            worker.exited(status, usage)
            self._aside(self._scratch.drop, wid)

    def _kill(self, worker: Forked) -> None:
        pidfd = self._watched.get(worker.wid)
        if pidfd is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return
        try:
            if not self.alive or worker.killed:
                raise ZygoteGone  # or it was asked before, and did nothing: it was stopped
            self._send({"kill": worker.wid})
        except (BlockingIOError, NotStarted, ZygoteGone):
            self._kill_by_number(worker)
        if not self.alive:
            self._exited(worker.wid, None, {})

    def _kill_by_number(self, worker: Forked) -> None:
        """Ends a process by its number, unless that means another process now."""
        if worker.pid and self._scratch.noted(worker.wid) in ("", started(worker.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def _aside(self, work: Callable[..., object], *args: Any) -> None:
        """Does on a thread what may take a while."""
        try:
            done = self._loop.run_in_executor(None, work, *args)
        except RuntimeError:  # a command ends, and its loop takes no more threads: it can wait
            work(*args)
            return
        self._clearing.add(done)
        done.add_done_callback(self._clearing.discard)

    # --- after its death -----------------------------------------------------------------------------------

    def _watch(self, worker: Forked) -> None:
        """Watches a worker whose zygote cannot tell of its end any more."""
        try:
            pidfd = os.pidfd_open(worker.pid)
        except OSError:  # gone; it was never ready; or the server has no descriptor left to see it by
            self._kill_by_number(worker)
            self._exited(worker.wid, None, {})
            return
        if self._scratch.noted(worker.wid) not in ("", started(worker.pid)):  # the number means another process now
            os.close(pidfd)
            self._exited(worker.wid, None, {})
            return
        self._watched[worker.wid] = pidfd
        self._loop.add_reader(pidfd, self._unwatch, worker.wid)

    def _unwatch(self, wid: int) -> None:
        pidfd = self._watched.pop(wid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._exited(wid, None, {})

    # --- end -----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends the zygote and every worker, and waits until nothing of them is left. May be repeated."""
        if self.alive:
            self.alive = False
            await self._stop()
        for worker in self.workers:
            self._kill(worker)
        for _ in range(int(END_SECONDS / 0.01)):
            if not self._watched:
                break
            await asyncio.sleep(0.01)
        while self._clearing:
            await asyncio.wait(set(self._clearing))

    async def _stop(self) -> None:
        """Has the process end its workers and itself; makes it, when it does not."""
        self._loop.remove_reader(self._control)
        with contextlib.suppress(BlockingIOError, NotStarted, ZygoteGone):  # ended, or stopped
            self._send({"end": True})
        self._give_up_forks()
        await asyncio.to_thread(self._end_process)
        self._end_sockets()
        for worker in self.workers:
            self._watch(worker)

    def _end_sockets(self) -> None:
        self._control.close()
        if self._errors >= 0:
            self._loop.remove_reader(self._errors)
            os.close(self._errors)
            self._errors = -1

    def _end_process(self) -> None:
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._end_at_once()
            self._process.wait()

    def _end_at_once(self) -> None:
        for pid in {self.pid, self._process.pid} - {0}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
