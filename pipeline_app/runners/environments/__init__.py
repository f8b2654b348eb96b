"""The packages that functions find installed, in directories of their own.

``base`` has those that all functions find, ``locks`` turns what a function asks for into exact versions with hashes,
``store`` installs these into directories named by their lock, ``uv`` runs the program that does the work, and
``troubles`` says what went wrong so that an administrator can act on it.

    resolved = resolve(["pandas>=2,<3"])
    path = build(resolved)

``Placed`` is what a worker needs to know: directories laid over the base packages, or the one directory that stands
in their place.
"""

from __future__ import annotations

from pipeline_app.runners.environments.base import (
    INSTALL_COMMAND,
    LOCK_NAME,
    BasePackages,
    add_base_to_path,
    base_packages,
    base_path,
    build_base,
    python_tag,
)
from pipeline_app.runners.environments.locks import (
    Resolved,
    check_asked,
    ground_digest,
    is_current,
    is_met,
    resolve,
    stored,
)
from pipeline_app.runners.environments.names import meant
from pipeline_app.runners.environments.store import Placed, build, path_of, placed, remove, size_of, sweep
from pipeline_app.runners.environments.uv import interrupt

__all__ = [
    "INSTALL_COMMAND",
    "LOCK_NAME",
    "BasePackages",
    "Placed",
    "Resolved",
    "add_base_to_path",
    "base_packages",
    "base_path",
    "build",
    "build_base",
    "check_asked",
    "ground_digest",
    "interrupt",
    "is_current",
    "is_met",
    "meant",
    "path_of",
    "placed",
    "python_tag",
    "remove",
    "resolve",
    "size_of",
    "stored",
    "sweep",
]
