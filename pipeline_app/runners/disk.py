"""What a process takes of the disk: in its folder, and in files that have no name any more but live on.

The folder and the process are somebody else's and change meanwhile: no link is followed, what is gone counts
nothing, and where it cannot be told how long something is it counts as the longest that it may be.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat

LEAST_PER_FILE = 4096
FILES_MOST = 10_000
DEEPEST = 32
LONGEST_FILE = 64 * 1024 * 1024
"""What a file counts that is only mapped, where its length is not to be had."""


def taken(pid: int, folder: str | None) -> float:
    """Returns the bytes that a process takes; infinity for what nobody can count."""
    return (folder_bytes(folder) if folder else 0) + nameless_bytes(pid, folder)


def folder_bytes(path: str) -> float:
    """Returns what the files below a folder take; infinity for too many files or too deep a folder."""
    total, left = 0, FILES_MOST
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        todo = [(os.open(path, flags), 0)]
    except OSError:
        return 0
    try:
        while todo:
            fd, depth = todo.pop()
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        left -= 1
                        if left < 0:
                            return math.inf
                        with contextlib.suppress(OSError):
                            found = entry.stat(follow_symlinks=False)
                            total += max(LEAST_PER_FILE, found.st_blocks * 512)
                            if stat.S_ISDIR(found.st_mode):
                                if depth >= DEEPEST or len(todo) > 10 * DEEPEST:
                                    return math.inf
                                todo.append((os.open(entry.name, flags, dir_fd=fd), depth + 1))
            finally:
                os.close(fd)
    finally:
        for fd, _ in todo:
            os.close(fd)
    return total


def nameless_bytes(pid: int, folder: str | None) -> float:
    """Returns what deleted files take that a process holds open or mapped.

    Infinity while it has descriptors on their way between two sockets of its own: what they lead to cannot be seen.
    """
    total = 0
    known: set[tuple[int, int]] = set()
    descriptors = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for number in os.listdir(descriptors):
            with contextlib.suppress(OSError):
                found = os.stat(f"{descriptors}/{number}")
                if stat.S_ISSOCK(found.st_mode):
                    if _carries_descriptors(pid, number):
                        return math.inf
                elif stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    key = (found.st_dev, found.st_ino)
                    total += 0 if key in known else found.st_blocks * 512
                    known.add(key)
    return total + _mapped_bytes(pid, folder, known)


def _carries_descriptors(pid: int, number: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{number}", "rb") as info:
        for line in info:
            if line.startswith(b"scm_fds:"):
                return int(line[8:]) > 0
    return False


def _mapped_bytes(pid: int, folder: str | None, known: set[tuple[int, int]]) -> float:
    """Returns what deleted files on the folder's device take that are mapped and not among the ``known``.

    Infinity for more of them than there may be files.
    """
    total = 0
    with contextlib.suppress(OSError):
        device = os.stat(folder or "/").st_dev
        with open(f"/proc/{pid}/maps", "rb") as maps:
            lines = [line for line in maps if line.endswith(b" (deleted)\n")]
        if len(lines) > FILES_MOST:
            return math.inf
        for line in lines:
            area, _, _, where, inode, _ = line.split(None, 5)
            major, minor = (int(part, 16) for part in where.split(b":"))
            key = (os.makedev(major, minor), int(inode))
            if key[0] == device and key not in known:
                known.add(key)
                total += _length(f"/proc/{pid}/map_files/{_plain(area)}")
    return total


def _plain(area: bytes) -> str:
    """Returns an area of memory as ``map_files`` names it: without leading zeros."""
    return "-".join(f"{int(part, 16):x}" for part in area.split(b"-"))


def _length(path: str) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except OSError:  # only for who administers the machine
        return LONGEST_FILE
