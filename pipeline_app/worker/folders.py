"""Removing what workers leave behind: folders made by hostile code, nested as deep and as oddly as it liked.

Started as a program it removes the folder of a server that has gone, while the last of its processes end.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from typing import NamedTuple

PATIENCE = 50
PAUSE = 0.1


def remove(path: str) -> None:
    """Removes a folder with all that is in it; nothing happens when it is not there. Follows no links.

    Goes down and up with one open directory, whatever the depth, and without recursion. Raises ``OSError`` for what
    cannot be removed, and when somebody moves folders meanwhile: up is then somewhere else.
    """
    try:
        here = _open(path)
    except FileNotFoundError:
        return
    try:
        below: list[_Level] = []
        todo = _emptied(here)
        while True:
            if todo:
                name = todo.pop()
                below.append(_Level(name, _identity(here), todo))
                here = _moved(here, _open(name, here))
                todo = _emptied(here)
            elif below:
                name, identity, todo = below.pop()
                here = _moved(here, os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here))
                if _identity(here) != identity:
                    raise OSError(errno.ESTALE, "A folder was moved while it was removed", name)
                os.rmdir(name, dir_fd=here)
            else:
                break
    finally:
        os.close(here)
    os.rmdir(path)


class _Level(NamedTuple):
    """A step of the way down: the folder's name, what it is in, and the folders beside it still to be done."""

    name: str
    inside: tuple[int, int]
    todo: list[str]


def _open(path: str, at: int | None = None) -> int:
    """Opens a directory with all rights for its owner, also one that forbids even that owner to look inside."""
    directory = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        here = os.open(path, os.O_RDONLY | directory, dir_fd=at)
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            os.chmod(path, stat.S_IRWXU, dir_fd=at, follow_symlinks=False)
            return os.open(path, os.O_RDONLY | directory, dir_fd=at)
        # What it is is settled first, and not asked by name again.
        found = os.open(path, os.O_PATH | directory, dir_fd=at)
        try:
            os.chmod(f"/proc/self/fd/{found}", stat.S_IRWXU)
            return os.open(".", os.O_RDONLY | directory, dir_fd=found)
        finally:
            os.close(found)
    if os.fstat(here).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(here, stat.S_IRWXU)
    return here


def _moved(here: int, there: int) -> int:
    os.close(here)
    return there


def _identity(directory: int) -> tuple[int, int]:
    found = os.fstat(directory)
    return found.st_dev, found.st_ino


def _emptied(here: int) -> list[str]:
    """Removes everything in a directory that is no directory; returns the names of those."""
    folders = []
    with os.scandir(here) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=here)
    return folders


def remove_at_last(path: str) -> None:
    """Removes a folder in which processes that are just ending may still write. Raises ``OSError`` when they go on."""
    for _ in range(PATIENCE):
        try:
            remove(path)
            return
        except OSError:
            time.sleep(PAUSE)
    remove(path)


if __name__ == "__main__":
    remove_at_last(sys.argv[1])
