"""What is to be said about a source: from its text alone, and from the function once it is loaded.

Both halves happen in a worker, since author text may harm whatever parses it. What needs the server's knowledge
(header, requirements, policy) is found there, out of what is told here.
"""

from __future__ import annotations

import ast
import threading
import warnings
from typing import Any

from .. import inspection
from ..loader import Loaded, parsed
from ..tracebacks import text_of
from . import blocking, imports, lint, signatures, values
from .findings import Finding, Text, anywhere, told
from .outline import Outline

Json = dict[str, Any]

_warnings_are_ours = threading.Lock()


def read(source: str) -> Json:
    """Returns ``{"kind", "findings", "imports", "parsed"}`` of a source, none of which is run.

    ``parsed`` says whether Python can read it at all; where not, there is one finding and no imports.
    """
    text = Text(source)
    caught: list[Finding] = []
    try:
        tree = _compiled(text, caught)
    except SyntaxError as error:
        return {"kind": None, "findings": told([_syntax(error, text)]), "imports": [], "parsed": False}
    except (ValueError, RecursionError, MemoryError) as error:
        message = f"Python cannot read the source: {text_of(error)[:300] or type(error).__name__}."
        return {"kind": None, "findings": told([anywhere("syntax-error", message)]), "imports": [], "parsed": False}
    outline = Outline(tree)
    found: list[Finding] = []
    looks = (
        signatures.of_class(outline, text),
        values.of_class(outline, text),
        blocking.of_source(tree, text),
        lint.of_source(tree, text),
    )
    for look in looks:
        try:
            found.extend(look)
        except (RecursionError, MemoryError):
            found.append(anywhere("not-linted", "The source is nested too deep for all of it to be looked at."))
    linted = {finding.line for finding in found if finding.code == "lint"}
    found += [finding for finding in caught if finding.line not in linted]  # pyflakes knows most of it, with columns
    spoken = [finding for finding in found if not text.silenced(finding)]
    return {"kind": outline.kind, "findings": told(spoken), "imports": imports.found(tree, text), "parsed": True}


def look_at(loaded: Loaded, source: str) -> Json:
    """Returns ``{"manifest", "findings"}`` of a loaded function; the manifest is that of ``inspection.manifest``."""
    text = Text(source)
    outline = Outline(parsed(text.text, loaded.filename))
    manifest = inspection.manifest(loaded)
    said = set(inspection.remarks(loaded))
    has_schema_finding = False
    found: list[Finding] = []
    for finding in (*signatures.of_loaded(loaded, outline, text), *values.of_loaded(loaded, outline, text)):
        has_schema_finding |= finding.code == "valves-no-schema"
        found.append(finding)
    for warning in manifest["warnings"]:
        if warning not in said and not (has_schema_finding and warning.startswith("There is no form for")):
            found.append(anywhere("manifest", warning))
    return {"manifest": manifest, "findings": told(one for one in found if not text.silenced(one))}


def _compiled(text: Text, caught: list[Finding]) -> ast.Module:
    """Returns the tree of a source that compiles, and adds what Python warns of."""
    with _warnings_are_ours, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        tree = parsed(text.text, "function")
        compile(tree, "function", "exec", dont_inherit=True)
    for warning in warned:
        if issubclass(warning.category, SyntaxWarning | DeprecationWarning):
            sentence = f"{str(warning.message).rstrip('.')}."
            line = warning.lineno if 0 < warning.lineno <= len(text.lines) else None
            caught.append(anywhere("lint", f"{sentence[:1].upper()}{sentence[1:]}")._replace(line=line))
    return tree


def _syntax(error: SyntaxError, text: Text) -> Finding:
    """Returns what keeps Python from reading the source, with both ends of the place."""
    line, column = error.lineno, error.offset
    end, end_column = error.end_lineno, error.end_offset
    if not line or line > len(text.lines) + 1:
        line = column = end = end_column = None
    elif not column or column < 1:
        column = end = end_column = None
    elif not end or end < line or not end_column or end_column < 1 or (end == line and end_column <= column):
        end, end_column = line, column + 1
    said = text_of(error).rstrip(".")
    return anywhere("syntax-error", f"{said[:1].upper()}{said[1:]}.")._replace(
        line=line, column=column, end_line=end, end_column=end_column
    )
