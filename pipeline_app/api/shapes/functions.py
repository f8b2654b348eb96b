"""Functions and their versions over HTTP, as Open WebUI shows them, and what stands beside its keys."""

from __future__ import annotations

from typing import Any

from pipeline_app.api.shapes.environments import IN_BRIEF

Shape = dict[str, Any]

_UUID: Shape = {"type": "string", "format": "uuid"}
_UUID_OR_NULL: Shape = {"type": ["string", "null"], "format": "uuid"}
_SECONDS: Shape = {"type": "integer", "description": "Epoch seconds."}
_TEXT_OR_NULL: Shape = {"type": ["string", "null"]}
_STATE: Shape = {
    "type": ["string", "null"],
    "enum": ["draft", "building", "live", "retired", "broken", None],
    "description": "How the version that is shown fares; building: it is being checked.",
}
_NUMBER: Shape = {"type": ["integer", "null"], "minimum": 1, "description": "The version's number in this function."}

_ERROR: Shape = {
    "title": "LoadError",
    "type": ["object", "null"],
    "description": "Why a version does not load, with the author's lines.",
    "required": ["type", "message", "line", "traceback"],
    "properties": {
        "type": _TEXT_OR_NULL,
        "message": _TEXT_OR_NULL,
        "line": {"type": ["integer", "null"]},
        "traceback": _TEXT_OR_NULL,
    },
}

_META: Shape = {
    "type": "object",
    "required": ["description", "manifest", "toggle"],
    "properties": {
        "description": _TEXT_OR_NULL,
        "manifest": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "The frontmatter; without the permission to view functions only what describes them.",
        },
        "toggle": {"type": "boolean", "description": "Whether it is a filter that users switch on."},
    },
    "additionalProperties": True,
}

_HEAD: Shape = {
    "version_id": {**_UUID_OR_NULL, "description": "The live version; the newest while none is live."},
    "id": {"type": "string"},
    "user_id": {**_UUID_OR_NULL, "description": "Whose it is."},
    "type": {"type": "string", "enum": ["pipe", "filter", "action", "event", ""]},
    "name": {"type": "string"},
    "meta": _META,
    "is_active": {"type": "boolean"},
    "is_global": {"type": "boolean"},
    "updated_at": _SECONDS,
    "created_at": _SECONDS,
}
_ABOUT: Shape = {"number": _NUMBER, "state": _STATE}


def _object(title: str, properties: Shape) -> Shape:
    return {"title": title, "type": "object", "required": list(properties), "properties": properties}


RESPONSE = _object("FunctionResponse", {**_HEAD, **_ABOUT})
RESPONSES: Shape = {"type": "array", "items": RESPONSE}
"""All functions."""

USER_RESPONSE = _object(
    "FunctionUserResponse",
    {
        **_HEAD,
        "user": {
            "type": ["object", "null"],
            "required": ["id", "name", "role", "email"],
            "properties": {
                "id": _UUID,
                "name": {"type": "string"},
                "role": {"type": "string", "enum": ["admin", "user", "pending"]},
                "email": {"type": "string"},
            },
        },
        **_ABOUT,
    },
)
USER_RESPONSES: Shape = {"type": "array", "items": USER_RESPONSE}
"""All functions with their owners."""

_MODEL_KEYS = ("version_id", "id", "user_id", "name", "type")
FUNCTION_MODEL: Shape = {
    **{key: _HEAD[key] for key in _MODEL_KEYS},
    "content": {"type": "string", "description": "The source."},
    **{key: shape for key, shape in _HEAD.items() if key not in _MODEL_KEYS},
}
"""Open WebUI's own keys of a function with its source, as in an export."""

MODEL = _object(
    "FunctionModel",
    {
        **FUNCTION_MODEL,
        **_ABOUT,
        "newest": {
            "type": ["object", "null"],
            "description": "How the newest version fares, which may be another than the one shown.",
            "required": ["version_id", "number", "state", "error", "environment"],
            "properties": {"version_id": _UUID, **_ABOUT, "error": _ERROR, "environment": IN_BRIEF},
        },
    },
)

_FORM: Shape = {
    "id": {"type": "string", "description": "An identifier of Python's; lower-cased."},
    "name": {"type": ["string", "null"], "description": "Without it the title in the frontmatter, else the id."},
    "content": {"type": "string", "description": "The source."},
    "meta": {"type": ["object", "null"], "description": "Facts about it; manifest and toggle are computed."},
    "commit_message": {"type": ["string", "null"], "description": "What this version changes."},
}
CREATE_FORM: Shape = {
    "title": "FunctionForm",
    "type": "object",
    "required": ["id", "content"],
    "properties": _FORM,
    "additionalProperties": True,
}
UPDATE_FORM: Shape = {
    "title": "FunctionUpdateForm",
    "type": "object",
    "properties": {
        **{name: shape for name, shape in _FORM.items() if name != "id"},
        "content": {"type": ["string", "null"], "description": "The source; without it that stays."},
        "version_id": {
            **_UUID_OR_NULL,
            "description": "The version that the change began from: 409 when it is not the current one any more.",
        },
    },
    "additionalProperties": True,
}

SET_VERSION: Shape = {"type": "object", "required": ["version_id"], "properties": {"version_id": _UUID}}
"""Which version is to serve."""


def switch(field: str) -> Shape:
    """Returns the shape of a body that may say to which side a switch is turned."""
    return {"type": "object", "properties": {field: {"type": ["boolean", "null"]}}}


DONE: Shape = {"type": "boolean", "enum": [True]}
"""What a deletion answers."""

_ENTRY: Shape = {
    "id": _UUID,
    "function_id": {"type": "string"},
    "parent_id": {**_UUID_OR_NULL, "description": "The version before it."},
    "user_id": _UUID_OR_NULL,
    "commit_message": _TEXT_OR_NULL,
    "created_at": _SECONDS,
    "user": {"type": ["object", "null"], "required": ["name"], "properties": {"name": {"type": "string"}}},
    **_ABOUT,
}
ENTRY = _object("FunctionVersion", _ENTRY)
ENTRIES: Shape = {"type": "array", "items": ENTRY, "maxItems": 20}
"""One page of a history."""

ENTRY_WITH_SNAPSHOT = _object(
    "FunctionVersionWithSource",
    {
        **_ENTRY,
        "snapshot": {
            "type": "object",
            "required": ["name", "content", "meta"],
            "properties": {"name": {"type": "string"}, "content": {"type": "string"}, "meta": _META},
        },
        "error": _ERROR,
        "environment": IN_BRIEF,
    },
)

DIFF = _object(
    "FunctionDiff",
    {
        "from_id": _UUID,
        "to_id": _UUID,
        "metadata": {"type": "object", "description": "Always empty: versions are of the source alone."},
        "content_diff": {"type": "string", "description": "A unified diff."},
        "line_endings_only": {"type": "boolean"},
    },
)

URL_FORM: Shape = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
"""Where code is fetched from."""
LOADED = _object("LoadedFunction", {"name": {"type": "string"}, "content": {"type": "string"}})

POLICY: Shape = {
    "title": "Policy",
    "type": "object",
    "required": ["stored"],
    "properties": {"stored": {"type": "object", "description": "What the function says itself."}},
    "additionalProperties": True,
}
POLICY_CHANGE: Shape = {"type": "object", "additionalProperties": True}
"""The fields to change; null takes one back to its default."""

STATS = {
    "title": "FunctionTotals",
    "type": "object",
    "required": ["function", "since", "until", "calls", "errors", "hooks"],
    "properties": {
        "function": {"type": "string"},
        "since": {"type": "number"},
        "until": {"type": "number"},
        "calls": {"type": "integer"},
        "errors": {"type": "integer"},
        "hooks": {"type": "object", "additionalProperties": {"type": "object"}},
    },
}

TRIAL_FORM: Shape = {
    "title": "TrialForm",
    "type": "object",
    "required": ["hook"],
    "properties": {
        "hook": {
            "type": "string",
            "enum": ["pipe", "pipes", "inlet", "request", "stream", "outlet", "action", "event"],
        },
        "body": {"description": "What the hook gets; for stream a chunk or a list of them."},
        "metadata": {"type": ["object", "null"]},
        "model": {"type": ["object", "null"]},
        "files": {"type": ["array", "null"]},
        "valves": {"type": ["object", "null"], "description": "For this call only, over those that are stored."},
        "user_valves": {"type": ["object", "null"]},
        "version": {"type": ["integer", "null"], "description": "Its number; else the live one, else the newest."},
        "answers": {"type": ["array", "null"], "description": "What __event_call__ returns, in order."},
        "stream": {"type": ["boolean", "null"]},
    },
    "additionalProperties": False,
}
TRIAL = _object(
    "TrialResult",
    {
        "result": {},
        "events": {"type": "array"},
        "calls": {"type": "array"},
        "logs": {"type": "array"},
        "error": {
            "type": ["object", "null"],
            "required": ["type", "message", "line", "traceback", "code"],
            "properties": {
                "type": _TEXT_OR_NULL,
                "message": _TEXT_OR_NULL,
                "line": {"type": ["integer", "null"]},
                "traceback": _TEXT_OR_NULL,
                "code": _TEXT_OR_NULL,
            },
        },
        "timing": {"type": "object"},
        "run": {"type": "string"},
    },
)
