"""What author code may import although it is not installed: ``open_webui``, as far as functions use it."""

from __future__ import annotations

import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


def install() -> None:
    """Makes it importable, after everything else that may have the same name."""
    if FOLDER not in sys.path:
        sys.path.append(FOLDER)
