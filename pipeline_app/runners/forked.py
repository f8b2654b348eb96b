"""A worker's process as the server has it: its descriptors, its pid, and its end."""

from __future__ import annotations

import array
import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

MESSAGE = 64 * 1024
wids = itertools.count(1)
"""The numbers of workers, which several processes may make in one folder."""
_INT = array.array("i").itemsize


class NotStarted(Exception):
    """A zygote or a worker could not be started; says why."""


class ZygoteGone(Exception):
    """There is no zygote that could make a worker."""


async def happens(end: socket.socket, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
    """Waits until a socket can be read, or written, once; ``add`` and ``remove`` are the loop's methods for that."""
    done = asyncio.get_running_loop().create_future()
    add(end, _tell, done)
    try:
        await done
    finally:
        remove(end)


def _tell(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


@dataclass(eq=False)
class Forked:
    """A worker that was made, confined, and waits for its first message.

    Its descriptors belong to whoever asked for it. ``main`` and ``sync`` do not block. ``log`` is what the process
    itself writes, ``notifications`` where it asks for connections; None when it may not have any, or opens them
    itself. ``report`` tells what confines it.
    """

    wid: int
    folder: Path
    main: socket.socket
    sync: socket.socket
    log: int
    pid: int = 0
    notifications: int | None = None
    report: Json = field(default_factory=dict)
    ended: bool = False
    status: int | None = None
    usage: Json = field(default_factory=dict)
    """What the zygote said about its end: ``{"maxrss_kb", "cpu"}``."""
    killed: bool = False
    """Whether it was asked to be ended before."""
    kill_with: Callable[[Forked], None] = field(default=lambda _: None, repr=False)
    _on_exit: Callable[[int | None], None] | None = field(default=None, repr=False)

    @property
    def on_exit(self) -> Callable[[int | None], None] | None:
        """Called once when the process has ended, with its wait status, or None where that is not known."""
        return self._on_exit

    @on_exit.setter
    def on_exit(self, told: Callable[[int | None], None]) -> None:
        self._on_exit = told
        if self.ended:
            asyncio.get_running_loop().call_soon(told, self.status)

    def kill(self) -> None:
        """Ends the process now; ``on_exit`` says when it has."""
        if not self.ended:
            self.kill_with(self)
            self.killed = True

    def exited(self, status: int | None, usage: Json | None = None) -> None:
        """Takes note of the end."""
        if not self.ended:
            self.ended, self.status, self.usage = True, status, usage or {}
            if self._on_exit is not None:
                self._on_exit(status)

    def close(self) -> None:
        """Closes all descriptors, for a worker that nobody took."""
        self.main.close()
        self.sync.close()
        os.close(self.log)
        if self.notifications is not None:
            os.close(self.notifications)


class Ends:
    """The connections of a worker in the making: the server's ends and the worker's."""

    def __init__(self) -> None:
        """Opens them, or none. Raises ``OSError`` when the server has no descriptors left."""
        with contextlib.ExitStack() as on_failure:
            pairs = []
            for _ in range(3):
                pairs.append(socket.socketpair())
                for end in pairs[-1]:
                    on_failure.enter_context(end)
            self.log, self._log = os.pipe()
            on_failure.pop_all()
        (self.main, self._main), (self.sync, self._sync), (self.boot, self._boot) = pairs
        os.set_blocking(self.log, False)
        for end in (self.main, self.sync, self.boot):
            end.setblocking(False)
        if hasattr(socket, "SO_PASSCRED"):  # Linux; elsewhere the pid of a child is that of a child
            self.boot.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    @property
    def theirs(self) -> list[int]:
        """The worker's descriptors: main, sync, boot and log."""
        return [self._main.fileno(), self._sync.fileno(), self._boot.fileno(), self._log]

    def close_theirs(self) -> None:
        """Closes the worker's ends here, when it has them. May be repeated."""
        for end in (self._main, self._sync, self._boot):
            end.close()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    async def booted(self, worker: Forked) -> None:
        """Waits for the first message of a worker and fills in what it says, and its pid as it is known here.

        Raises ``NotStarted`` when it ended instead.
        """
        loop = asyncio.get_running_loop()
        await happens(self.boot, loop.add_reader, loop.remove_reader)
        space = socket.CMSG_SPACE(3 * _INT) + socket.CMSG_SPACE(_INT)
        data, ancillary, flags, _ = self.boot.recvmsg(MESSAGE, space)
        if flags & socket.MSG_CTRUNC:  # without what it asks for connections by, it would only seem to have a network
            raise NotStarted("The server has no descriptor left for a worker.")
        for _, kind, value in ancillary:
            numbers = array.array("i", value[: len(value) // _INT * _INT])
            if kind == socket.SCM_RIGHTS:
                worker.notifications = numbers[0]
            elif kind == socket.SCM_CREDENTIALS:
                worker.pid = numbers[0]
        if not data:
            said = b""
            with contextlib.suppress(BlockingIOError):
                said = os.read(self.log, MESSAGE)
            raise NotStarted(f"A worker could not be made ready. {said.decode('utf-8', 'replace').strip()}".strip())
        worker.report = json.loads(data)["report"]
