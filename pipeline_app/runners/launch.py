"""How an interpreter with nothing but the worker's own code in it is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_app.runners.layers import WORKER_PACKAGE, Layers, interpreter

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
