"""A worker's way to the server: frames that are written in one turn of the loop leave together."""

from __future__ import annotations

import asyncio
import os

_write, _exit = os.write, os._exit  # taken now: author code may put something else in their place

ENOUGH = 1024 * 1024
"""How many bytes may wait for the server before whoever writes should wait too."""


class Outgoing:
    """Frames on their way to the server, on the loop's thread. The worker ends when nobody is there to read them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._frames: list[bytes] = []
        self._rest = memoryview(b"")  # of frames that did not go out whole
        self._size = 0
        self._armed = False
        self._watched = False
        self._rooms: list[asyncio.Future[None]] = []

    @property
    def crowded(self) -> bool:
        """Whether so much waits that whoever writes should wait too."""
        return self._size > ENOUGH

    def write(self, frame: bytes, *, at_once: bool = False) -> None:
        """Sends a frame after those that were written before; ``at_once`` where no other is about to follow."""
        self._frames.append(frame)
        self._size += len(frame)
        if not self._armed:
            self._armed = True
            if at_once:
                self._flush()
            else:
                self._loop.call_soon(self._flush)

    async def room(self) -> None:
        """Waits until the server has read enough."""
        while self.crowded:
            waiter = self._loop.create_future()
            self._rooms.append(waiter)
            await waiter

    def _flush(self) -> None:
        while self._rest or self._frames:
            if not self._rest:
                self._rest = memoryview(b"".join(self._frames))
                self._frames.clear()
            try:
                sent = _write(self._fd, self._rest)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:  # the server has gone
                _exit(0)
            self._rest = self._rest[sent:]
            self._size -= sent
            if self._rest:
                if not self._watched:
                    self._watched = True
                    self._loop.add_writer(self._fd, self._flush)
                return
        self._armed = False
        if self._watched:
            self._watched = False
            self._loop.remove_writer(self._fd)
        for waiter in self._rooms:
            if not waiter.done():
                waiter.set_result(None)
        self._rooms.clear()
