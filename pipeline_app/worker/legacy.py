"""Imports from the time when Open WebUI's packages had no common parent, pointed at where they went.

Only real ``from utils... import`` statements change, on the syntax tree; the source stays as it was written.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder

LEGACY = frozenset(("utils", "apps", "main", "config"))


def rewritten(tree: ast.Module) -> ast.Module:
    """Returns the tree with legacy imports under ``open_webui``, except those that resolve as they are."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.ImportFrom) and node.level == 0 and node.module):
            continue
        if node.module.partition(".")[0] in LEGACY and not resolves(node.module):
            node.module = f"open_webui.{node.module}"
    return tree


def resolves(name: str) -> bool:
    """Returns whether a module is there, without importing any of its parents; a bare directory is no module."""
    if name in sys.modules:
        return True
    path: Sequence[str] | None = None
    parts = name.split(".")
    for depth in range(len(parts)):
        try:
            spec = PathFinder.find_spec(".".join(parts[: depth + 1]), path)
        except (ImportError, ValueError):
            return False
        if spec is None or (spec.loader is None and depth == len(parts) - 1):
            return False
        path = spec.submodule_search_locations
        if path is None and depth < len(parts) - 1:
            return False
    return True
