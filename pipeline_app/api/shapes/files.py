"""Files over HTTP, as Open WebUI shows them."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

_PROPERTIES: Shape = {
    "id": {"type": "string", "format": "uuid"},
    "user_id": {"type": "string", "format": "uuid", "description": "Whose it is."},
    "hash": {"type": ["string", "null"], "description": "SHA-256 of the content."},
    "filename": {"type": "string"},
    "path": {"type": "string", "description": "Where it is stored; no path that anybody could open."},
    "data": {"type": "object", "additionalProperties": True},
    "meta": {
        "type": "object",
        "required": ["name", "content_type", "size"],
        "properties": {
            "name": {"type": "string"},
            "content_type": {"type": ["string", "null"], "description": "Told from content and name."},
            "size": {"type": "integer", "minimum": 0, "description": "Bytes."},
        },
        "additionalProperties": True,
    },
    "created_at": {"type": "integer", "description": "Epoch seconds."},
    "updated_at": {"type": "integer", "description": "Epoch seconds."},
}

FILE: Shape = {"title": "File", "type": "object", "required": list(_PROPERTIES), "properties": _PROPERTIES}

STORED_FILE: Shape = {
    "title": "StoredFile",
    "type": "object",
    "required": ["status", *_PROPERTIES],
    "properties": {"status": {"type": "boolean"}, **_PROPERTIES},
}

FILES: Shape = {
    "title": "Files",
    "type": "object",
    "required": ["items", "total"],
    "properties": {"items": {"type": "array", "items": FILE}, "total": {"type": "integer", "minimum": 0}},
}

FORM: Shape = {
    "title": "FileForm",
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary"}},
}

DELETED: Shape = {
    "title": "FileDeleted",
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "string"}},
}

CONTENT: Shape = {"type": "string", "format": "binary"}
