"""What keeps a source from serving whatever packages it gets: found in its text, before any of them is installed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from functions_app.runtime import LoadError
from pipeline_app.runners.base import Code, Runner
from pipeline_app.worker.imports import refusal

_BINDS_BY_NAME = re.compile(r"\b(global|globals|vars|locals|exec|eval|setattr|modules|__dict__|__getattr__)\b")
"""What could bind a class to a name that stands nowhere in the text."""


async def check_text(runner: Runner, code: Code) -> None:
    """Raises ``LoadError`` for a source that Python can't read, that has no class, or that imports what its policy
    refuses. Nothing of it is run, unless that only tells why it can't be read.
    """
    bare = replace(code, packages=(), environment="")
    reading = await runner.read(bare)
    if not reading["parsed"]:
        await runner.inspect(bare)  # which says it as it is always said, with the lines around it
        return
    if not _BINDS_BY_NAME.search(code.source):
        for finding in reading["findings"]:
            if finding["code"] == "no-class":
                raise LoadError(_error("LoadError", finding["message"], finding["line"]))
    # Names that are rewritten count when it is loaded.
    imported = [entry for entry in reading["imports"] if entry["module"] != "open_webui"]
    refused = code.policy.refused_imports(entry["module"] for entry in imported)
    if refused:
        line = next(entry["line"] for entry in imported if entry["module"].partition(".")[0] in refused)
        raise LoadError(_error("ImportError", refusal(refused), line))


def _error(kind: str, message: str, line: int | None) -> dict[str, Any]:
    return {"type": kind, "message": message, "line": line, "traceback": None}
