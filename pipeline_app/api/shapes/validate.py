"""The shapes of a check of code."""

from __future__ import annotations

from typing import Any

from pipeline_app.worker.checking.findings import CODES, SEVERITIES

Shape = dict[str, Any]

BODY: Shape = {
    "type": "object",
    "required": ["content"],
    "properties": {
        "content": {"type": "string", "description": "The source."},
        "id": {"type": "string", "description": "Of the function it is for: a stored one's policy holds."},
        "name": {"type": "string", "description": "With a name, the frontmatter needs no title."},
        "policy": {
            "type": "object",
            "additionalProperties": True,
            "description": "Fields over the function's policy, for this check; needs the permission to set policies.",
        },
    },
}
_PLACE: Shape = {"type": ["integer", "null"], "minimum": 1}
FINDING: Shape = {
    "title": "Finding",
    "type": "object",
    "required": ["severity", "code", "message", "line", "column", "end_line", "end_column"],
    "properties": {
        "severity": {"type": "string", "enum": list(SEVERITIES)},
        "code": {"type": "string", "enum": list(CODES)},
        "message": {"type": "string"},
        "line": {**_PLACE, "description": "Counted from 1; null where it is about the source as a whole."},
        "column": _PLACE,
        "end_line": _PLACE,
        "end_column": {**_PLACE, "description": "The column after the last character."},
    },
}
ANSWER: Shape = {
    "title": "Check",
    "type": "object",
    "required": ["ok", "kind", "frontmatter", "manifest", "findings"],
    "properties": {
        "ok": {"type": "boolean", "description": "Whether no finding is an error."},
        "kind": {"type": ["string", "null"], "enum": ["pipe", "filter", "action", "event", None]},
        "frontmatter": {"type": "object", "additionalProperties": {"type": "string"}},
        "manifest": {
            "type": ["object", "null"],
            "additionalProperties": True,
            "description": "Hooks with their parameters, schemas of valves and more; null when it does not load.",
        },
        "findings": {"type": "array", "items": FINDING},
    },
}
