"""A view of the file system that holds nothing but what author code may read, and namespaces of its own.

Bubblewrap builds it around the zygote where it is installed and user namespaces exist; workers inherit it at no
cost. It closes what Landlock cannot: looking at existence, size and times of any file by its path. Processes keep
their numbers, and ``/proc`` is not there: the server goes on seeing workers as they are, and they see nobody.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .launch import environment
from .layers import DEVICES, LIBRARIES, interpreter, package_folders, readable, system_folders

TRIAL_SECONDS = 20


def prefix(readable: Iterable[str], writable: Iterable[str], network: bool = False) -> list[str]:
    """Returns the words that go before the zygote's command line. Raises ``FileNotFoundError`` without bubblewrap.

    ``network`` keeps the machine's network, for workers whose connections nobody opens for them.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise FileNotFoundError("bubblewrap is not installed")
    words = [program, "--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"]
    words += ["--hostname", "function"]
    if not network:
        words.append("--unshare-net")
    for path in _outermost([*system_folders(), *readable]):
        words += ["--dev-bind" if path in DEVICES else "--ro-bind", path, path]
    for path in filter(os.path.islink, LIBRARIES):
        words += ["--symlink", os.readlink(path), path]
    for folder in sorted(package_folders()):
        if any(folder.is_relative_to(path) for path in system_folders()):
            words += ["--tmpfs", str(folder), "--remount-ro", str(folder)]
    for path in writable:
        words += ["--bind", path, path]
    return [*words, "--remount-ro", "/", "--chdir", "/", "--"]


def _outermost(paths: Iterable[str]) -> list[str]:
    """Returns the paths that are there and not inside another one of them, in order."""
    chosen: list[Path] = []
    for path in sorted({Path(path) for path in paths if os.path.exists(path)}):
        if not any(path.is_relative_to(outer) for outer in chosen):
            chosen.append(path)
    return [str(path) for path in chosen]


@functools.cache
def why_not() -> str | None:
    """Returns why bubblewrap cannot be used on this machine; None when a Python inside it has just run."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            command = [*prefix(readable(), [folder]), interpreter(), "-I", "-S", "-c", "import json, socket, ssl"]
            trial = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=TRIAL_SECONDS,
                env=environment(Path(folder)),
                check=False,
            )
        except FileNotFoundError as error:
            return f"{error}."
        except subprocess.TimeoutExpired:
            return f"bubblewrap did not start a Python within {TRIAL_SECONDS} s."
    if trial.returncode == 0:
        return None
    lines = trial.stderr.strip().splitlines() or [f"it ended with status {trial.returncode}"]
    return f"bubblewrap cannot be used here: {lines[-1]}"


def available() -> bool:
    """Returns whether bubblewrap can be used on this machine."""
    return why_not() is None
