"""Folders that appear whole or not at all: filled aside, flushed, moved into place, once for all processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from functions_app.runtime import RequirementError
from pipeline_app.runners.environments import troubles, uv
from pipeline_app.runners.environments.uv import Budget, Say

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Seconds between two attempts to get a lock that another process holds.
RETRY = 0.05
# Seconds that a folder stays after somebody asked for it, who has yet to write down that it is in use.
GRACE = 600.0

Fill = Callable[[Path, int], None]
"""Fills a folder; the number is the descriptor of the lock, for processes that are to hold it as well."""


def make(path: Path, fill: Fill, budget: Budget, say: Say) -> None:
    """Makes a folder unless it is there. Raises ``RequirementError``; nothing is left of one that fails.

    Processes that make the same one at the same time wait for the first. A killed one leaves a folder with another
    name, which the next to come removes.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path, budget, say) as held:
            if not path.is_dir():
                _fill(path, fill, held)
    except OSError as error:
        if not path.is_dir():
            raise troubles.of_system(error) from error
        # It is there, on a disk that may only be read.


def remove(path: Path, still_unused: Callable[[], bool]) -> bool:
    """Removes a folder and returns whether it is gone.

    It stays while somebody makes it, for a while after somebody asked for it, and when ``still_unused``, asked last
    and under the lock, says no.
    """
    if not path.is_dir() and not _lock_of(path).exists():
        return True
    try:
        with _locked(path, None, uv.silent, is_use=False) as held:
            if time.time() - os.fstat(held).st_mtime < GRACE or not still_unused():
                return False
            if path.is_dir():
                gone = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
                path.rename(gone / path.name)
                shutil.rmtree(gone, ignore_errors=True)
            if sys.platform != "win32":
                _lock_of(path).unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except OSError as error:
        raise troubles.of_system(error) from error
    return True


def sweep(root: Path) -> int:
    """Removes what killed processes left in a folder of folders, and returns how many there were."""
    count = 0
    for lock in root.glob(".*.lock"):
        path = root / lock.name.removeprefix(".").removesuffix(".lock")
        with contextlib.suppress(OSError), _locked(path, None, uv.silent, is_use=False):
            count += _clear(path)
    return count


def _fill(path: Path, fill: Fill, held: int) -> None:
    _clear(path)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        fill(aside, held)
        _protect(aside)
        aside.chmod(0o755)
        _flush(aside)
        aside.rename(path)
        _flush(path.parent, all_of_it=False)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear(path: Path) -> int:
    """Removes what killed processes left of a folder; whoever calls holds its lock."""
    count = 0
    for left_over in path.parent.glob(f".{path.name}.*/"):
        shutil.rmtree(left_over, ignore_errors=True)
        count += 1
    return count


def _protect(folder: Path) -> None:
    """Takes the permission to write from all files, which may be the same as in uv's cache and in other folders.

    What keeps functions from writing is the sandbox; this keeps those from it that run without. Folders stay as they
    are, so that whoever owns them can remove them. Links are not followed: they may lead anywhere.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(parent, name)
            mode = os.lstat(file).st_mode
            if stat.S_ISREG(mode) and mode & 0o222:
                os.chmod(file, stat.S_IMODE(mode) & ~0o222)


def _flush(folder: Path, all_of_it: bool = True) -> None:
    """Writes a folder through to the disk, so that a power failure can't leave its name without its content."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not all_of_it:
            os.fsync(descriptor)
        elif sys.platform != "linux" or ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)


def _lock_of(path: Path) -> Path:
    return path.parent / f".{path.name}.lock"


@contextlib.contextmanager
def _locked(path: Path, budget: Budget | None, say: Say, *, is_use: bool = True) -> Iterator[int]:
    """Holds the lock of a folder against every other process; the system frees it when a process dies.

    Without a budget it does not wait: ``BlockingIOError`` says that somebody has it. The lock's time of change is when
    the folder was last asked for.
    """
    lock = _lock_of(path)
    waited = False
    while True:
        with lock.open("a+b") as file:
            if _taken(file.fileno()):
                if not _is_file(lock, file.fileno()):
                    continue  # it was removed together with its folder while we waited
                if is_use:
                    os.utime(file.fileno() if os.utime in os.supports_fd else lock)
                yield file.fileno()
                return
        if budget is None:
            raise BlockingIOError
        if not waited:
            say("Waiting for another process that installs the same packages")
        waited = True
        try:
            budget.check()
        except RequirementError as error:
            if error.code != "timeout":
                raise
            message = f"Another process that installs the same packages has not ended. {error}"
            raise RequirementError(message, code="timeout") from None
        time.sleep(RETRY)


def _taken(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
