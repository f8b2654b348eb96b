"""Removing what workers leave behind: folders made by hostile code, nested as deep and as oddly as it liked.

Started as a program it removes the folder of a server that has gone, while the last of its processes end.
"""

from __future__ import annotations

import os
import stat
import sys
import time

PATIENCE = 50
PAUSE = 0.1


def remove(path: str) -> None:
    """Removes a folder with all that is in it; nothing happens when it is not there. Follows no links.

    Goes down and up with one open directory, whatever the depth, and without recursion. Nobody may write there any
    more. Raises ``OSError`` for what cannot be removed.
    """
    try:
        os.chmod(path, stat.S_IRWXU)
        here = _open(path)
    except FileNotFoundError:
        return
    try:
        below: list[tuple[str, list[str]]] = []  # the way down: name, and the folders beside it still to be done
        todo = _emptied(here)
        while True:
            if todo:
                name = todo.pop()
                # A folder may forbid even its owner to look inside.
                os.chmod(name, stat.S_IRWXU, dir_fd=here)
                here = _moved(here, name)
                below.append((name, todo))
                todo = _emptied(here)
            elif below:
                name, todo = below.pop()
                here = _moved(here, "..")
                os.rmdir(name, dir_fd=here)
            else:
                break
    finally:
        os.close(here)
    os.rmdir(path)


def _open(path: str, at: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)


def _moved(here: int, name: str) -> int:
    there = _open(name, here)
    os.close(here)
    return there


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
