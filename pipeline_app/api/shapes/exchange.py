"""Shapes of export, import and sync."""

from __future__ import annotations

from typing import Any

from functions_app.exchange.plan import Action, Plan

Shape = dict[str, Any]

_META: Shape = {
    "type": "object",
    "required": ["description", "manifest", "toggle"],
    "properties": {
        "description": {"type": ["string", "null"]},
        "manifest": {"type": "object", "description": "The frontmatter."},
        "toggle": {"type": ["boolean", "null"]},
    },
}
_BEFORE: Shape = {
    "version_id": {"type": ["string", "null"]},
    "id": {"type": "string"},
    "user_id": {"type": ["string", "null"]},
    "name": {"type": "string"},
    "type": {"type": "string", "enum": ["pipe", "filter", "action", "event", ""]},
    "content": {"type": "string"},
    "meta": _META,
}
_VALVES: Shape = {
    "valves": {"type": ["object", "null"], "description": "What is set, without secrets; null cannot be read."},
}
_AFTER: Shape = {
    "is_active": {"type": "boolean"},
    "is_global": {"type": "boolean"},
    "updated_at": {"type": "integer", "description": "Epoch seconds."},
    "created_at": {"type": "integer", "description": "Epoch seconds."},
}
EXPORTED: Shape = {
    "title": "ExportedFunction",
    "type": "object",
    "required": [*_BEFORE, *_AFTER],
    "properties": {**_BEFORE, **_VALVES, **_AFTER},
}
EXPORT: Shape = {"type": "array", "items": EXPORTED}
EXPORT_QUERY: Shape = {
    "include_valves": {
        "type": "boolean",
        "description": "With the values that are set, except secrets; needs the permission to configure.",
    }
}

ENTRY: Shape = {
    "title": "FunctionEntry",
    "type": "object",
    "required": ["id", "content"],
    "properties": {
        "id": {"type": "string"},
        "content": {"type": "string"},
        "name": {"type": ["string", "null"]},
        "meta": {"type": ["object", "null"]},
        "is_active": {"type": ["boolean", "null"]},
        "is_global": {"type": ["boolean", "null"]},
        "valves": {
            "type": ["object", "null"],
            "description": "Absent keeps what is stored; null takes all back to the code's defaults.",
        },
        "policy": {"type": ["object", "null"], "description": "Taken only where the request says so."},
        "created_at": {"type": ["number", "null"], "description": "Epoch seconds."},
    },
}
_WRAPPED: Shape = {"type": "object", "required": ["function"], "properties": {"function": ENTRY}}
_ONE: Shape = {"oneOf": [ENTRY, _WRAPPED]}
_OPTIONS: Shape = {
    "overwrite": {"type": "boolean", "description": "Change functions that exist; they are left alone otherwise."},
    "partial": {"type": "boolean", "description": "Import what can be imported and refuse the rest."},
    "flags": {"type": "boolean", "description": "Take is_active and is_global; new functions are inactive otherwise."},
    "policy": {"type": "boolean", "description": "Take policies of the entries."},
    "valves": {"type": "boolean", "description": "false passes over the valves of the entries."},
    "dry_run": {"type": "boolean", "description": "Try everything, write nothing, and answer what would happen."},
}
IMPORT: Shape = {
    "oneOf": [
        {"type": "array", "items": _ONE},
        ENTRY,
        _WRAPPED,
        {
            "type": "object",
            "required": ["functions"],
            "properties": {"functions": {"type": "array", "items": _ONE}, **_OPTIONS},
        },
    ]
}
IMPORT_QUERY: Shape = _OPTIONS
SYNC: Shape = {
    "type": "object",
    "required": ["functions"],
    "properties": {"functions": {"type": "array", "items": _ONE}, "policy": _OPTIONS["policy"]},
}
SYNCED: Shape = {
    "type": "array",
    "items": {**EXPORTED, "title": "SyncedFunction", "required": [*_BEFORE, *_VALVES, *_AFTER]},
}

_CHANGE: Shape = {
    "title": "ImportedFunction",
    "type": "object",
    "required": ["id", "action", "version", "reasons", "notes", "error"],
    "properties": {
        "id": {"type": "string"},
        "action": {"type": "string", "enum": [action.value for action in Action]},
        "version": {"type": ["integer", "null"], "description": "The version that now has the entry's code, if new."},
        "reasons": {"type": "array", "items": {"type": "string"}, "description": "What changes."},
        "notes": {"type": "array", "items": {"type": "string"}, "description": "What is left to do by hand."},
        "error": {"type": ["string", "null"]},
    },
}
_COUNTS = {Action.CREATE: "created", Action.UPDATE: "updated", Action.KEEP: "kept", Action.REFUSE: "refused"}
IMPORTED: Shape = {
    "title": "Imported",
    "type": "object",
    "required": ["functions", *_COUNTS.values()],
    "properties": {
        "functions": {"type": "array", "items": _CHANGE},
        **{word: {"type": "integer"} for word in _COUNTS.values()},
    },
}

GOES_ON: Shape = {
    "title": "GoesOn",
    "type": "object",
    "required": ["state", "message"],
    "properties": {"state": {"const": "building"}, "message": {"type": "string"}},
}
GOES_ON_ANSWER = {
    "state": "building",
    "message": (
        "This takes longer than a moment, most likely because packages are installed. It goes on by itself: all of "
        "it is done or nothing. Send the same again later to hear how it went."
    ),
}


def told(plan: Plan) -> dict[str, Any]:
    """Returns what an import answers: what happened to each entry, and how often each thing did."""
    counts = {word: plan.count(action) for action, word in _COUNTS.items()}
    return {"functions": [change.as_json() for change in plan.changes], **counts}
