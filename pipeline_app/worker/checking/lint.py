"""What pyflakes, a base package that is imported when it is needed, says of a source, in the codes of a check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from .findings import Finding, Text, anywhere

CODES = {
    "UndefinedName": "undefined-name",
    "UndefinedLocal": "undefined-name",
    "UndefinedExport": "undefined-name",
    "RedefinedWhileUnused": "redefinition",
    "UnusedImport": "unused-import",
    "UnusedVariable": "unused-variable",
    "UnusedAnnotation": "unused-variable",
    "UnusedIndirectAssignment": "unused-variable",
    "ImportStarUsed": "star-import",
}
"""The code of each of its messages; all others are ``lint``."""

_HARMLESS = frozenset(("FStringMissingPlaceholders", "TStringMissingPlaceholders", "MultiValueRepeatedKeyLiteral"))
_NEVER_RUN = frozenset(("DoctestSyntaxError", "ForwardAnnotationSyntaxError"))


def of_source(tree: ast.Module, text: Text) -> Iterator[Finding]:
    """Yields what pyflakes finds; one finding that says so where it cannot look."""
    try:
        from pyflakes import checker
    except ImportError:
        yield anywhere("not-linted", "pyflakes is not among the base packages: run manage.py install_requirements.")
        return
    annotations, strings = _lines_of_annotations(tree), _places_of_strings(tree)
    for message in checker.Checker(tree, filename="function").messages:
        if type(message).__name__ == "ImportStarUsage":
            continue  # said once, of the import
        found = _finding(message, text, annotations)
        if found.code == "undefined-name" and found.severity == "error" and (message.lineno, message.col) in strings:
            found = found._replace(severity="info")  # a string that stands where a type may: List["Item"]
        yield found


def _finding(message: Any, text: Text, annotations: set[int]) -> Finding:
    name = type(message).__name__
    code = CODES.get(name, "lint")
    severity = "info" if name in _HARMLESS or name in _NEVER_RUN else ""
    said = message.message % message.message_args
    if code == "undefined-name" and (name == "UndefinedExport" or message.lineno in annotations):
        severity = "warning"  # it fails only for whoever asks for it
    line, column = message.lineno, text.column(message.lineno, message.col)
    sentence = f"{said[:1].upper()}{said[1:]}."
    end = column + len(str(message.message_args[0])) if code == "undefined-name" and message.message_args else None
    made = anywhere(code, sentence, severity)
    return made._replace(line=line, column=column, end_line=None if end is None else line, end_column=end)


def _places_of_strings(tree: ast.Module) -> set[tuple[int, int]]:
    return {
        (node.lineno, node.col_offset)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _lines_of_annotations(tree: ast.Module) -> set[int]:
    """Returns the lines of annotations that are never evaluated: all of them, once they are postponed, else strings."""
    postponed = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
        for node in tree.body
    )
    lines: set[int] = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            found = getattr(node, field, None)
            if isinstance(found, ast.expr) and (postponed or isinstance(found, ast.Constant)):
                lines.update(range(found.lineno, (found.end_lineno or found.lineno) + 1))
    return lines
