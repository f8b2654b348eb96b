"""Files of packages, named from where they are imported: where the server keeps them is nobody's business."""

from __future__ import annotations

import os
import sys

_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compat", "")


def without_folders(text: str) -> str:
    """Returns a text in which paths of modules begin with the package: ``pandas/core/frame.py``."""
    folders = {os.path.join(entry, "") for entry in sys.path if type(entry) is str and os.path.isabs(entry)}
    for folder in sorted(folders - {os.sep} | {_OURS}, key=len, reverse=True):
        text = text.replace(folder, "")
    return text
