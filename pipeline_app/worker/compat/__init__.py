"""What author code may import although it is not installed: ``open_webui``, as far as functions use it."""

from __future__ import annotations

import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


def install() -> None:
    """Makes it importable, after what is on the path by now; packages of a function come later."""
    if FOLDER not in sys.path:
        sys.path.append(FOLDER)


def look_at(filename: str, text: str) -> None:
    """Reads, while it loads, what a source does with answers of ``open_webui``: a long one takes a while."""
    awaited = sys.modules.get("open_webui._awaited")
    if awaited is not None and "open_webui" in text:
        awaited.look_at(filename)
