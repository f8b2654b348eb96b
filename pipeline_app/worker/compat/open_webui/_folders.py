"""The folders that functions write to: below one of the worker's own, gone with it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


class Folder(type(Path())):  # type: ignore[misc]  # the path of this platform
    """A path, also for code from when folders were text."""

    def __add__(self, more: str) -> str:
        return str(self) + more

    def __radd__(self, before: str) -> str:
        return before + str(self)


def _made(path: str) -> Folder:
    os.makedirs(path, exist_ok=True)
    return Folder(path)


_root = tempfile.mkdtemp(prefix="open_webui-")
atexit.register(shutil.rmtree, _root, ignore_errors=True)  # the inline runner's; a worker's goes with its own folder

DATA_DIR = _made(_root)
CACHE_DIR = _made(os.path.join(_root, "cache"))
UPLOAD_DIR = _made(os.path.join(_root, "uploads"))
STATIC_DIR = _made(os.path.join(_root, "static"))
