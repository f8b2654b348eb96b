"""Which server process of a data folder is the first to come, and which the last to go.

Each holds a shared lock on a file while it serves; who could have it alone is the first, or the last. The kernel lets
go of the locks of a process that dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Roster:
    """The server processes that share a data folder, as this process takes part in them."""

    def __init__(self, folder: Path) -> None:
        self._presence = folder / "serving.lock"
        self._door = folder / "serving.door"
        self._held: int | None = None

    def enter(self) -> bool:
        """Takes part from now on; returns whether nobody else does."""
        with self._alone():
            self._held = _open(self._presence)
            first = _try(self._held, fcntl.LOCK_EX)
            fcntl.flock(self._held, fcntl.LOCK_SH)
            return first

    def leave(self) -> bool:
        """Takes part no more; returns whether nobody is left."""
        if self._held is None:
            return False
        held, self._held = self._held, None
        try:
            with self._alone():
                last = _try(held, fcntl.LOCK_EX)
                fcntl.flock(held, fcntl.LOCK_UN)
                return last
        finally:
            os.close(held)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lets one process come or go at a time, so that of two that go together one is the last."""
        door = _open(self._door)
        try:
            fcntl.flock(door, fcntl.LOCK_EX)
            yield
        finally:
            os.close(door)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
