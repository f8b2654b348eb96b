"""How an interpreter with nothing but the worker's own code in it is started."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_app.runners.forked import NotStarted
from pipeline_app.runners.layers import WORKER_PACKAGE, Layers, interpreter

PRELOAD = (
    *("pydantic", "starlette.requests", "starlette.responses", "fastapi", "requests", "aiohttp", "orjson"),
    *("httpx", "httpcore", "anyio._backends._asyncio"),  # httpx imports the two when a client is made and first asks
)
"""What most functions import. Ready in the zygote it costs a worker neither time nor memory."""
OPTIONAL = frozenset(("orjson",))
"""Faster where it is installed, and not missed where it is not."""

# The folder of the worker stands for a package whose parent is empty: nothing else of the project is in reach.
BOOTSTRAP = """
import importlib.util, sys, types
folder, run, *rest = sys.argv[1:]
parent = sys.modules["pipeline_app"] = types.ModuleType("pipeline_app")
parent.__path__ = []
spec = importlib.util.spec_from_file_location(
    "pipeline_app.worker", folder + "/__init__.py", submodule_search_locations=[folder])
parent.worker = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent.worker)
getattr(importlib.import_module("pipeline_app.worker.__main__"), run)(*map(int, rest))
"""


def command(run: str, *descriptors: int, prefix: Sequence[str] = ()) -> list[str]:
    """Returns the command that runs a function of ``worker/__main__.py`` with descriptors in its own interpreter.

    No site-packages, no variables of the environment, no folder of the user's (``-I -S``).
    """
    arguments = [str(WORKER_PACKAGE), run, *map(str, descriptors)]
    return [*prefix, interpreter(), "-I", "-S", "-X", "utf8", "-c", BOOTSTRAP, *arguments]


def environment(home: Path) -> dict[str, str]:
    """Returns all that a zygote finds in its environment."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # Python itself may need it
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(home),
        "MALLOC_ARENA_MAX": "2",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "RES_OPTIONS": "use-vc",
        **kept,
    }


def switches(layers: Layers) -> dict[str, Any]:
    """Returns which layers a process is to apply to itself, as ``worker/confine.py`` wants to be told."""
    return {
        "landlock": layers.landlock,
        "landlock_version": layers.landlock_version,
        "seccomp": layers.seccomp,
        "capabilities": layers.capabilities,
    }


def launched(folder: Path, prefix: Sequence[str]) -> tuple[socket.socket, subprocess.Popen[bytes], int]:
    """Starts the process that forks; returns a socket to it, itself, and where it writes. Raises ``NotStarted``."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as on_failure:
        try:
            ours, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            on_failure.enter_context(ours)
            theirs.enter_context(end)
            said, says = os.pipe()
            on_failure.callback(os.close, said)
            theirs.callback(os.close, says)
            process = subprocess.Popen(
                command("main", end.fileno(), prefix=prefix),
                pass_fds=[end.fileno()],
                env=environment(folder),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=says,
                stderr=says,
                start_new_session=True,
            )
        except OSError as error:
            raise NotStarted(f"The process that makes workers cannot be started: {error}") from error
        on_failure.pop_all()
    ours.setblocking(False)
    os.set_blocking(said, False)
    return ours, process, said
