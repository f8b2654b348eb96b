"""Runs uv: found, told where packages come from, watched while it works, and stopped when it takes too much."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uv
from django.conf import settings

from functions_app import programs
from functions_app.runtime import RequirementError
from pipeline_app.runners.environments import troubles

if sys.platform == "linux":
    import resource

Say = Callable[[str], None]

# Variables that both programs have under different names.
PIP_TO_UV = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}
# What would make uv work on other packages than those it is told, or build from sources.
NOT_FOR_UV = {
    "VIRTUAL_ENV",
    "UV_PROJECT_ENVIRONMENT",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_REQUIRE_HASHES",
    "UV_SYSTEM_PYTHON",
    "UV_BREAK_SYSTEM_PACKAGES",
}
# Seconds between two looks at time and disk.
LOOK = 0.2
# What is kept of uv's messages.
LOG_BYTES = 64 * 1024

_interruptions = 0


def interrupt() -> None:
    """Ends what this process resolves, builds or waits for: each raises ``RequirementError`` with code *stopped*.

    For a server that stops. Work that begins afterwards is not concerned.
    """
    global _interruptions
    _interruptions += 1


def silent(message: str) -> None:
    """Says nothing, to nobody."""


@dataclass(slots=True)
class Budget:
    """How long one piece of work may take, and whether it was interrupted."""

    deadline: float = field(default_factory=lambda: time.monotonic() + settings.FUNCTIONS_BUILD_SECONDS)
    begun_after: int = field(default_factory=lambda: _interruptions)

    def check(self, log: str = "") -> None:
        """Raises ``RequirementError`` with code *stopped* or *timeout* when the work has to end."""
        if self.begun_after != _interruptions:
            raise troubles.stopped(log)
        if time.monotonic() > self.deadline:
            raise troubles.timeout(settings.FUNCTIONS_BUILD_SECONDS, log)


def run(
    arguments: Sequence[str],
    *,
    budget: Budget,
    say: Say = silent,
    given: str = "",
    growing: Path | None = None,
    held: Sequence[int] = (),
    wheels: Path | None = None,
) -> str:
    """Runs ``uv`` and returns what it printed; its messages are said line by line.

    ``given`` is its standard input, ``growing`` a folder whose size counts against ``FUNCTIONS_BUILD_MB``, ``held``
    descriptors (of locks) that it inherits, so that a lock outlives a process that is killed while uv still writes. On
    Linux uv does not outlive it for longer than a moment.
    ``wheels`` is a folder of wheels that stands in the place of any index. Raises ``RequirementError``.
    """
    wheels = wheels or settings.FUNCTIONS_WHEELS
    command = [binary(), *arguments, "--color", "never", "--python", sys.executable]
    if wheels is not None:
        command += ["--no-index", "--find-links", str(wheels), "--offline"]
    with tempfile.TemporaryFile() as fed, tempfile.TemporaryFile() as printed:
        fed.write(given.encode())
        fed.seek(0)
        try:
            process = subprocess.Popen(
                programs.tied(command), stdin=fed, stdout=printed, stderr=subprocess.PIPE, text=True, errors="replace",
                env=environment(), cwd=_folder(), pass_fds=() if sys.platform == "win32" else tuple(held),
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise troubles.of_system(error) from error
        with process:
            log = _watch(process, budget, say, growing)
        if process.returncode:
            raise troubles.of_uv(process.returncode, log, wheels)
        printed.seek(0)
        return printed.read().decode()


def _folder() -> Path:
    """Returns where uv runs: a folder of ours, since it reads configuration from where it is."""
    folder: Path = settings.FUNCTIONS_ENVIRONMENTS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def binary() -> str:
    """Returns the path of uv. Raises ``RequirementError`` when it is missing."""
    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise RequirementError(
            "The program uv, which installs packages for functions, is missing. Install the server's own packages "
            "again: pip install -r requirements.txt."
        ) from error


def environment() -> dict[str, str]:
    """Returns the environment of uv: ours, with what settings and pip say of indexes and certificates.

    Whoever could install the server with pip, through a mirror or a company's proxy, can then install these too.
    Addresses go here and not on the command line, which everybody on the machine can read, since they may hold
    passwords.
    """
    ours = {name: value for name, value in os.environ.items() if name not in NOT_FOR_UV}
    told = {of_uv: ours[of_pip] for of_pip, of_uv in PIP_TO_UV.items() if ours.get(of_pip)}
    if ssl.get_default_verify_paths().cafile is not None:
        told["UV_SYSTEM_CERTS"] = "true"  # uv brings certificates of its own, which lack a company's
    ours = told | ours
    if settings.FUNCTIONS_INDEX_URL:
        ours["UV_DEFAULT_INDEX"] = settings.FUNCTIONS_INDEX_URL
    if settings.FUNCTIONS_EXTRA_INDEX_URLS:
        ours["UV_INDEX"] = " ".join(settings.FUNCTIONS_EXTRA_INDEX_URLS)
    return ours


def _watch(process: subprocess.Popen[str], budget: Budget, say: Say, growing: Path | None) -> str:
    """Waits for uv and returns its messages; ends it when time or disk is used up, or the server stops."""
    limit = int(settings.FUNCTIONS_BUILD_MB * 1024 * 1024)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # it has ended already
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    told: list[str] = []
    cache = Cache()
    try:
        while process.poll() is None:
            _tell(lines, told, say)
            budget.check(_log(told))
            if max(cache.grown(), 0 if growing is None else used(growing)) > limit:
                raise troubles.too_large(settings.FUNCTIONS_BUILD_MB, _log(told))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK)
    except BaseException:
        programs.end(process)
        cache.forget_unfinished()
        raise
    finally:
        reader.join(timeout=5)
    if process.returncode < 0:  # by a signal, as for a file that is too large
        cache.forget_unfinished()
    _tell(lines, told, say)
    return _log(told)


def _read(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stderr is not None
    with contextlib.suppress(ValueError):  # closed while it is read
        for line in process.stderr:
            lines.put(line.rstrip())


def _tell(lines: queue.SimpleQueue[str], told: list[str], say: Say) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            line = programs.without_passwords(lines.get_nowait())
            told.append(line)
            if line.strip() and not line.startswith(" + "):  # the closing list of everything installed
                say(line.strip())


def _log(told: list[str]) -> str:
    return "\n".join(told)[-LOG_BYTES:]


class Cache:
    """What a run adds to uv's cache, where packages are unpacked before they are linked into place."""

    def __init__(self) -> None:
        self.folder = _cache_folder()
        self._before = set(self._entries())

    def grown(self) -> int:
        """Returns the bytes that appeared since; those of other runs at the same time count too."""
        return sum(used(path) for path in self._entries() if path not in self._before)

    def forget_unfinished(self) -> None:
        """Removes what a killed run was unpacking; it would never be removed otherwise."""
        for path in self._entries():
            if path not in self._before and path.name.startswith(".tmp"):
                shutil.rmtree(path, ignore_errors=True)

    def _entries(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            yield from self.folder.glob(".tmp*")
            yield from (self.folder / "archive-v0").glob("*")


def _cache_folder() -> Path:
    if told := os.environ.get("UV_CACHE_DIR"):
        return Path(told)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "")) / "uv" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"


def used(folder: Path) -> int:
    """Returns the bytes of all files in a folder, whoever else has them too; what vanishes meanwhile is not counted."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
