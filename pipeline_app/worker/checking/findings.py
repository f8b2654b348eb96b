"""What a check can find: every code with its usual severity and what it means, and where in the text it is."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

SEVERITIES = ("error", "warning", "info")
"""An error keeps the function, or a call of it, from working; a warning will surprise; an info is worth knowing."""

MOST = 500
"""How many findings are told of one source."""
LONGEST = 1_000
"""Characters of one finding's message."""


class Kind(NamedTuple):
    """One code: how severe it usually is, and what it means."""

    severity: str
    meaning: str


CODES: dict[str, Kind] = {
    # the source as a whole
    "syntax-error": Kind("error", "Python cannot read the source."),
    "crashed": Kind("error", "The process that read or loaded the source ended, or took longer than it may."),
    "load-error": Kind("error", "The source fails when it is loaded; the line is the author's."),
    "no-class": Kind("error", "There is no class `Pipe`, `Filter`, `Action` or `Event` at the top level."),
    "several-classes": Kind("warning", "There are several such classes; only the first of that order is used."),
    # hooks
    "no-hooks": Kind("error", "The class has none of the methods that are called."),
    "hook-not-callable": Kind("error", "A name that belongs to a hook holds something that cannot be called."),
    "missing-self": Kind("error", "A hook lacks `self`, so the instance would be passed as its first argument."),
    "missing-body": Kind("warning", "A hook takes no payload (`body`, for `stream` and `event` an `event`)."),
    "payload-name": Kind("info", "A hook takes its payload under another name; Open WebUI passes it by name only."),
    "unknown-argument": Kind("error", "A hook asks for an argument that nobody gives; optional ones are a warning."),
    "generator-hook": Kind("error", "A hook that returns a body contains `yield`, so it returns a generator."),
    # valves
    "valves-no-model": Kind("warning", "`Valves` or `UserValves` is no pydantic model: no form, no checks."),
    "valves-not-set": Kind("warning", "There is a class `Valves`, but `self.valves` is never set, so none are given."),
    "valves-misplaced": Kind("warning", "A class `Valves` or `UserValves` outside the function's class is not seen."),
    "valves-shared": Kind("warning", "`self.valves` is one object that concurrent calls share."),
    "valves-required": Kind("warning", "A field has no default: until it is set, calls fail."),
    "valves-no-schema": Kind("warning", "A field has no JSON schema, so the valves have no form."),
    "valves-priority": Kind("warning", "`priority` is no number, so it counts as 0."),
    "valves-options": Kind("warning", "The method that offers the choices of a field is missing or cannot be called."),
    # async code
    "blocking-call": Kind("warning", "Async code waits without `await`, and holds up all other calls meanwhile."),
    "nested-loop": Kind("warning", "Async code starts an event loop inside the running one, which fails."),
    "not-awaited": Kind("warning", "A coroutine is made and never awaited: it does nothing."),
    # lint
    "undefined-name": Kind("error", "A name is used that is defined nowhere."),
    "redefinition": Kind("warning", "Something is defined twice and the first is never used."),
    "unused-import": Kind("info", "An import is never used."),
    "unused-variable": Kind("info", "A local variable is never used."),
    "star-import": Kind("info", "`import *` hides which names exist."),
    "lint": Kind("warning", "Code that is legal and hardly meant, such as `is` with a literal."),
    "not-linted": Kind("info", "The source was not linted, and the message says why."),
    # the header
    "missing-title": Kind("warning", "The frontmatter has no title."),
    "frontmatter-key": Kind("warning", "A line of the frontmatter is not read because of how its key is written."),
    "frontmatter-case": Kind("info", "A key is not in lower case; Open WebUI does not read it."),
    "frontmatter-lost": Kind("warning", "Text on the line of the closing quotes, or a continued value, is not read."),
    "frontmatter-duplicate": Kind("warning", "A key stands there twice; the last one counts."),
    "frontmatter-position": Kind("info", "The frontmatter does not begin on line 1 with three double quotes."),
    "frontmatter-version": Kind("warning", "`required_open_webui_version` is no version."),
    # packages
    "invalid-requirement": Kind("error", "A requirement is not written as PEP 508 says, or names a URL."),
    "requirement-comma": Kind("info", "A requirement has a comma inside, at which Open WebUI splits it."),
    "duplicate-requirement": Kind("warning", "A package is required twice."),
    "mistaken-requirement": Kind("warning", "A requirement is the name of a module; its package has another."),
    "needless-requirement": Kind("warning", "A requirement names what Python or this server brings."),
    "unavailable-requirement": Kind("error", "A required package is not allowed, or could not be had when last tried."),
    "awaited-requirement": Kind("info", "A required package is not there yet: publishing installs it."),
    "undeclared-import": Kind("error", "A package is imported that is not there and not required."),
    "refused-import": Kind("error", "The function's policy refuses an import."),
    # what inspection says beside
    "manifest": Kind("warning", "Something of the function cannot be shown or used, and the message says what."),
}
"""Every code that a finding can have."""


class Finding(NamedTuple):
    """One thing to be said. Lines and columns count from 1, the end is exclusive; None where it has no place."""

    code: str
    severity: str
    message: str
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """Returns the finding as JSON."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
        }


_NOQA = re.compile(r"#\s*noqa\b", re.IGNORECASE)


class Text:
    """A source in lines, and the places of its syntax tree in characters."""

    def __init__(self, source: str) -> None:
        self.text = source.removeprefix("\ufeff")
        self.lines = list(io.StringIO(self.text, newline=None))
        self._mark = len(source) - len(self.text)

    def column(self, line: int, offset: int) -> int:
        """Returns the column, from 1, of a byte offset as syntax trees have it."""
        shift = 1 + (self._mark if line == 1 else 0)
        if not 0 < line <= len(self.lines) or self.lines[line - 1].isascii():
            return offset + shift
        return len(self.lines[line - 1].encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore")) + shift

    def at(self, node: Any, code: str, message: str, severity: str = "") -> Finding:
        """Returns a finding about a node of the tree."""
        line, end = node.lineno, getattr(node, "end_lineno", None)
        begin_column = self.column(line, node.col_offset)
        end_column = None if end is None else self.column(end, node.end_col_offset)
        return Finding(code, severity or CODES[code].severity, message, line, begin_column, end, end_column)

    def named(self, node: Any, code: str, message: str, severity: str = "") -> Finding:
        """Returns a finding about a definition: its place is the line that names it, not all of its body."""
        line = node.lineno
        begin = self.column(line, node.col_offset)
        length = len(self.lines[line - 1].rstrip()) if 0 < line <= len(self.lines) else begin
        return Finding(code, severity or CODES[code].severity, message, line, begin, line, max(begin, length + 1))

    def silenced(self, finding: Finding) -> bool:
        """Whether the line of a finding that is no error has a ``# noqa`` comment."""
        line = finding.line
        if finding.severity == "error" or line is None or not 0 < line <= len(self.lines):
            return False
        return bool(_NOQA.search(self.lines[line - 1]))


def anywhere(code: str, message: str, severity: str = "") -> Finding:
    """Returns a finding about the source as a whole."""
    return Finding(code, severity or CODES[code].severity, message)


def told(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Returns findings as they travel: in the order of the text, each once, errors first where they are too many."""
    unique = list(dict.fromkeys(findings))
    if len(unique) > MOST:
        unique.sort(key=lambda found: SEVERITIES.index(found.severity))
        del unique[MOST:]
    unique.sort(key=order)
    return [found._replace(message=found.message[:LONGEST]).to_wire() for found in unique]


def order(found: Finding) -> tuple[int, int, int]:
    """Sorts findings by place, the severe ones first; those without a place come before all others."""
    return (found.line or 0, found.column or 0, SEVERITIES.index(found.severity))


def function_of(node: ast.AST) -> bool:
    """Whether a node is a function, sync or async."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
