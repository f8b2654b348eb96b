"""Where the packages of one version are: whether they are there, and how they get onto the server's own path."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from pathlib import Path

from pipeline_app.runners.base import Code
from pipeline_app.runners.environments import INSTALL_COMMAND, python_tag
from pipeline_app.runners.environments.base import NOTE
from pipeline_app.worker.errors import LoadError


def missing(code: Code) -> str:
    """Returns a sentence when its packages are gone or another Python's, rather than have each import fail.

    Empty when all is well.
    """
    remedy = f"Run {INSTALL_COMMAND} {code.function_id}."
    for folder in code.folders:
        if not os.path.isdir(folder):
            return f"Its packages are not on this machine: {os.path.basename(folder)} is missing. {remedy}"
        if (python := _python_of(folder)) not in ("", python_tag()):
            return f"Its packages are for {python}, and the server runs {python_tag()} now. {remedy}"
    return ""


def brings(code: Code, modules: Collection[str]) -> bool:
    """Whether the folders laid over the base packages have one of these top-level modules."""
    return any(entry.partition(".")[0] in modules for folder in code.packages for entry in os.listdir(folder))


def _python_of(folder: str) -> str:
    """Returns the interpreter that a folder was built for, as it says itself; empty when it does not."""
    try:
        return str(json.loads((Path(folder) / NOTE).read_bytes())["python"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def add_to_path(code: Code) -> None:
    """Appends the folders laid over the base packages to ``sys.path``, for code that runs in this process.

    After everything else, so that they replace nothing; for good, so that functions with different versions of one
    package get that of whoever came first. Raises the worker tree's ``LoadError`` when there is no way.
    """
    if code.environment:
        raise _refusal(
            "Its requirements conflict with the base packages, so it needs an environment of its own, and this server "
            "runs functions in its own process (FUNCTIONS_RUNNER=inline), where there can be one only. Run the server "
            "with FUNCTIONS_RUNNER=process, or loosen the requirements."
        )
    if gone := missing(code):
        raise _refusal(gone)
    sys.path += [folder for folder in code.packages if folder not in sys.path]


def _refusal(message: str) -> LoadError:
    return LoadError({"type": "RequirementError", "message": message, "line": None, "traceback": None})
