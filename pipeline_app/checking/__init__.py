"""Checking a function's code without saving it or letting it serve: one answer for API, commands and whoever else asks.

A worker reads and loads the source (``worker.checking``); what needs the server's own knowledge is added here.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from functions_app import frontmatter
from pipeline_app.checking import header, packages
from pipeline_app.errors import RequestError
from pipeline_app.runners.base import Checked, Code, Runner
from pipeline_app.worker.checking.findings import Finding, anywhere, told
from pipeline_app.worker.checking.values import KNOWN_WHEN_LOADED

Json = dict[str, Any]

LONGEST = 1_000_000
"""Characters of a source that is checked."""


class TooLong(RequestError):
    """A source is longer than what is checked."""

    status = 413

    def __init__(self, length: int) -> None:
        said = f"The source has {length:,} characters; up to {LONGEST:,} are checked."
        super().__init__(f"{said} Let the function fetch what is data in it.", param="content", code="too_long")


async def check(runner: Runner, code: Code, failure: str = "") -> Json:
    """Returns ``{"ok", "kind", "frontmatter", "manifest", "findings"}`` of a source.

    ``failure`` is why its packages could not be had when that was last tried (``sets.look_up``).
    ``ok`` says that there is no error among the findings, ``manifest`` is None when the source does not load. Raises
    ``TooLong``, and ``FunctionUnavailable`` and ``Busy`` as ``Runner.check`` does.
    """
    source = code.source
    if len(source) > LONGEST:
        raise TooLong(len(source))
    # Its worker, and what it leaves behind in the server's own process under the inline runner, is nobody else's.
    code = replace(code, number=0, version=None, manifest={}, epoch="check")
    checked = await runner.check(code)
    said, awaited = await asyncio.to_thread(_of_header, code, failure)
    said += [*_of_worker(checked), *_of_imports(checked, code)]
    said += _of_loading(checked, said, awaited)
    findings = told(said)
    reading, look = checked.reading, checked.look
    manifest = None if look is None else look["manifest"]
    return {
        "ok": not any(finding["severity"] == "error" for finding in findings),
        "kind": manifest["kind"] if manifest is not None else reading["kind"] if reading is not None else None,
        "frontmatter": frontmatter.read(source),
        "manifest": manifest,
        "findings": findings,
    }


def _of_header(code: Code, failure: str) -> tuple[list[Finding], list[str]]:
    """Returns what is to be said of the frontmatter, and the requirements that are not installed for this check."""
    source = code.source
    said = [*header.of_source(source), *header.of_failure(source, failure)]
    return said, [] if code.folders else header.awaited(source)


def _of_worker(checked: Checked) -> list[Finding]:
    """Returns what the worker told of the text and of the function; where both know, the function counts."""
    reading, look = checked.reading, checked.look
    of_text = [] if reading is None else [Finding(**finding) for finding in reading["findings"]]
    if look is None:
        return of_text
    of_function = [Finding(**finding) for finding in look["findings"]]
    return [finding for finding in of_text if finding.code not in KNOWN_WHEN_LOADED] + of_function


def _of_imports(checked: Checked, code: Code) -> list[Finding]:
    if checked.reading is None:
        return []
    declared = frozenset(header.packages(code.source))
    return list(packages.of_imports(checked.reading["imports"], declared, code.policy))


def _of_loading(checked: Checked, said: list[Finding], awaited: list[str]) -> list[Finding]:
    """Returns why the source could not be read or loaded, unless that has been said already.

    What fails without packages that are ``awaited`` is no error of the source.
    """
    if checked.crash:
        why = checked.crash.rstrip(".")
        return [anywhere("crashed", f"The process that read this source did not get to its end: {why}.")]
    error = checked.error
    if error is None:
        return []
    line, name = error.get("line"), error["type"]
    if name in ("ModuleNotFoundError", "ImportError") and any(
        one.severity == "error" and one.code in ("undeclared-import", "refused-import") for one in said
    ):
        return []
    if name in ("ModuleNotFoundError", "ImportError") and any(one.code == "unavailable-requirement" for one in said):
        return []
    if awaited and name in ("ModuleNotFoundError", "ImportError"):
        found = anywhere("awaited-requirement", f"{_await(awaited)} What loading would find is not known until then.")
        return [found._replace(line=line, column=1) if isinstance(line := error.get("line"), int) else found]
    code = "crashed" if name in ("WorkerDied", "TimeLimit") else "load-error"
    message = error["message"] if code == "crashed" or name == "LoadError" else f"{name}: {error['message']}"
    found = anywhere(code, message.strip())
    if awaited and code == "load-error":
        found = anywhere(code, f"{message.strip()} {_await(awaited)} It may load then.", "warning")
    return [found._replace(line=line, column=1 if line else None) if isinstance(line, int) else found]


def _await(awaited: list[str]) -> str:
    names = f"{', '.join(awaited[:5])}{' and more' if len(awaited) > 5 else ''}"
    return f"Not installed here yet: {names}. That is done when the function is published."
