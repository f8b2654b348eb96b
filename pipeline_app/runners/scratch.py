"""The folder that all workers of one server have theirs in, and what is left of servers that were killed.

Workers hang on the folder's lifeline (``worker/lifeline.py``), and so does a shell that does nothing but wait for its
end: it removes the folder of a server that was killed, which nobody inside a sandbox could. Where that fails too,
the next server does: each holds a lock on its folder for as long as it lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from pipeline_app.runners.layers import interpreter
from pipeline_app.worker import folders, lifeline

logger = logging.getLogger(__name__)

NAME = "webui-functions"
LOCK = "lock"
WAIT_AND_REMOVE = 'read -r nothing; if [ -d "$1" ]; then exec "$2" -I -S "$3" "$1"; fi'
END_SECONDS = 5.0
FRESH_SECONDS = 60.0
"""How old a folder must be to count as left behind when it has no lock: it may be in the making."""


class Scratch:
    """This server's folder; one folder in it per worker."""

    def __init__(self) -> None:
        base = Path(os.path.realpath(tempfile.gettempdir()))
        # Made under a hidden name and shown when it is locked, so that no other server takes it for left behind.
        hidden = Path(tempfile.mkdtemp(prefix=f".{NAME}-{os.getuid()}-", dir=base))
        self._lock = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.mkfifo(hidden / lifeline.NAME, 0o600)
        self._life = os.open(hidden / lifeline.NAME, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.chmod(hidden / lifeline.NAME, 0o400)  # whoever wrote to it would end all workers
        self.path = hidden.rename(base / hidden.name[1:])
        self._remover = self._start_remover()
        self._folders: dict[int, Path] = {}

    def _start_remover(self) -> subprocess.Popen[bytes] | None:
        ends = os.open(self.path / lifeline.NAME, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(ends, True)
        shell = ["/bin/sh", "-c", WAIT_AND_REMOVE, "remove", str(self.path), interpreter(), folders.__file__]
        try:
            return subprocess.Popen(
                shell,
                stdin=ends,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )
        except OSError as error:
            logger.warning("Nobody will remove %s if this server is killed: %s", self.path, error)
            return None
        finally:
            os.close(ends)

    def folder(self, wid: int) -> Path:
        """Makes the folder of a worker, under a name that other workers cannot guess and so not ask about."""
        folder = self._folders[wid] = self.path / f"w{wid}-{secrets.token_hex(8)}"
        folder.mkdir(0o700)
        return folder

    def note(self, wid: int, pid: int) -> None:
        """Writes down which process a worker is, for whoever clears up after this server."""
        _note_of(self._folders[wid]).write_text(f"{pid} {started(pid)}")

    def noted(self, wid: int) -> str:
        """Returns when the process of a worker began, as written down; empty when it was not."""
        try:
            return _note_of(self._folders[wid]).read_text().partition(" ")[2]
        except (KeyError, OSError):
            return ""

    def drop(self, wid: int) -> None:
        """Removes what belongs to a worker that has gone."""
        folder = self._folders.pop(wid)
        _note_of(folder).unlink(missing_ok=True)
        _remove(folder)

    def close(self) -> None:
        """Removes everything. All workers have gone."""
        _remove(self.path)
        os.close(self._life)
        os.close(self._lock)
        if self._remover is not None:
            try:
                self._remover.wait(END_SECONDS)
            except subprocess.TimeoutExpired:  # somebody has stopped it, or it removes what is long removed
                self._remover.kill()
                self._remover.wait()


def _note_of(folder: Path) -> Path:
    return folder.with_suffix(".pid")


def started(pid: int) -> str:
    """Returns when a process began, in the kernel's own count; empty when there is none, or no telling."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def sweep() -> int:
    """Ends and removes what servers of this user left behind that were killed; returns how many folders that were."""
    swept = 0
    base = Path(os.path.realpath(tempfile.gettempdir()))
    pattern = f"{NAME}-{os.getuid()}-*"
    for path in (*base.glob(pattern), *base.glob(f".{pattern}")):
        with contextlib.suppress(FileNotFoundError):  # another server that sweeps was faster
            found = path.lstat()
            if not path.is_symlink() and path.is_dir() and found.st_uid == os.getuid():
                swept += _sweep(path, found.st_mtime)
    return swept


def _sweep(path: Path, changed: float) -> bool:
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        if time.time() - changed < FRESH_SECONDS:
            return False
        lock = None
    try:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # its server lives
    else:
        for pid in _leftovers(path):
            logger.warning("Process %s of a server that is gone is ended.", pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _remove(path)
        return True
    finally:
        if lock is not None:
            os.close(lock)


def _leftovers(path: Path) -> set[int]:
    """Returns the processes that were workers there, or live there."""
    found = set()
    for note in path.glob("w*.pid"):
        pid, _, began = note.read_text().partition(" ")
        if pid.isdigit() and began and started(int(pid)) == began:
            found.add(int(pid))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(process / "cwd")
        except OSError:  # somebody else's, or gone
            continue
        if where == str(path) or where.startswith(f"{path}/"):
            found.add(int(process.name))
    return found


def _remove(path: Path) -> None:
    try:
        folders.remove_at_last(str(path))
    except OSError as error:
        logger.warning("%s cannot be removed: %s", path, error)
