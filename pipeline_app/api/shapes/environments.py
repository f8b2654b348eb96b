"""Sets of packages over HTTP: what was asked for, what it was locked to, and how building it goes."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

_SECONDS: Shape = {"type": "integer", "description": "Epoch seconds."}
STATE: Shape = {"type": "string", "enum": ["building", "ready", "failed"]}
ERROR: Shape = {
    "type": ["object", "null"],
    "description": "Why it can't be had; code is a word for the kind of trouble.",
    "required": ["code", "message"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
}
PROGRESS: Shape = {"type": "string", "description": "The last line of its log."}

IN_BRIEF: Shape = {
    "type": ["object", "null"],
    "description": "The version's set of packages; null when it needs none of its own.",
    "required": ["id", "state", "progress", "error"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "state": STATE,
        "progress": PROGRESS,
        "error": ERROR,
    },
}

_HEAD: Shape = {
    "id": {"type": "string", "format": "uuid"},
    "requirements": {"type": "array", "items": {"type": "string"}},
    "state": STATE,
    "kind": {
        "type": "string",
        "enum": ["overlay", "complete", ""],
        "description": "Laid over the base packages, or in their place; empty until it is locked.",
    },
    "digest": {"type": "string", "description": "Names the lock; empty until there is one."},
    "python": {"type": "string"},
    "packages": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Versions by name."},
    "size": {"type": "integer", "minimum": 0, "description": "Bytes on disk; 0 when it is not there."},
    "progress": PROGRESS,
    "error": ERROR,
    "versions": {
        "type": "array",
        "description": "Versions that refer to it, those of one function together, the newest first.",
        "items": {
            "type": "object",
            "required": ["function_id", "version_id", "number", "state"],
            "properties": {
                "function_id": {"type": "string"},
                "version_id": {"type": "string", "format": "uuid"},
                "number": {"type": "integer", "minimum": 1},
                "state": {"type": "string", "enum": ["draft", "building", "live", "retired", "broken"]},
            },
        },
    },
    "created_at": _SECONDS,
    "updated_at": _SECONDS,
    "used_at": _SECONDS,
}
_WHOLE: Shape = {
    **_HEAD,
    "lock": {"type": "string", "description": "Exact versions with hashes."},
    "log": {"type": "string", "description": "What was said while it was built, the end of it."},
}

ENVIRONMENT: Shape = {
    "title": "Environment",
    "type": "object",
    "required": list(_WHOLE),
    "properties": _WHOLE,
}
ENVIRONMENTS: Shape = {
    "type": "array",
    "items": {
        "title": "EnvironmentInBrief",
        "type": "object",
        "required": list(_HEAD),
        "properties": _HEAD,
    },
}
"""All sets, without locks and logs."""
