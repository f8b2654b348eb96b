"""What a worker writes past every call: the output of native code, and of Python when it can't go on."""

from __future__ import annotations

import asyncio
import os

TAIL = 8 * 1024
FLOOD = 1024 * 1024
PAUSE = 0.2
"""Seconds between two looks at a worker that has written much: it waits meanwhile."""


class NativeLog:
    """Reads a pipe and keeps its last 8 KB."""

    def __init__(self, fd: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._tail = b""
        self._read = 0
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._take)

    @property
    def text(self) -> str:
        """The last lines."""
        return self._tail.decode("utf-8", "replace")

    def close(self) -> None:
        """Reads what is left and closes the pipe."""
        if self._closed:
            return
        for _ in range(32):
            if not self._take():
                break
        if not self._closed:
            self._end()

    def _take(self) -> bool:
        try:
            data = os.read(self._fd, 64 * 1024)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        self._tail = (self._tail + data)[-TAIL:]
        self._read += len(data)
        if self._read > FLOOD and self._pause is None:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(PAUSE, self._go_on)
        return True

    def _go_on(self) -> None:
        self._pause = None
        if not self._closed:
            self._loop.add_reader(self._fd, self._take)

    def _end(self) -> None:
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        else:
            self._loop.remove_reader(self._fd)
        os.close(self._fd)
