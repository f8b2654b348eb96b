"""Actions: what a request for one holds, what it answers, and how they are listed."""

from __future__ import annotations

from typing import Any

from pipeline_app.api.shapes.chat import EVENTS, SWITCHES

Shape = dict[str, Any]

ACTION_REQUEST: Shape = {
    "title": "Action request",
    "type": "object",
    "properties": {
        "messages": {"type": ["array", "null"], "items": {"type": "object", "additionalProperties": True}},
        "model": {"type": ["string", "null"], "description": "The model whose answer it is about."},
        "chat_id": {"type": ["string", "null"]},
        "id": {"type": ["string", "null"], "description": "The message that it is about."},
        "session_id": {"type": ["string", "null"]},
        **SWITCHES,
    },
    "additionalProperties": True,
}

RESULT: Shape = {
    "title": "Action result",
    "type": "object",
    "required": ["result", "events"],
    "properties": {"result": {"description": "What the action returned."}, "events": EVENTS},
}

ACTION_LIST: Shape = {
    "title": "Action list",
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "name", "description", "icon", "global", "models"],
                "properties": {
                    "id": {"type": "string", "description": "What is triggered: {id}, or {id}.{sub}."},
                    "name": {"type": "string"},
                    "description": {"type": "string"},
                    "icon": {"type": ["string", "null"]},
                    "global": {"type": "boolean", "description": "Whether it applies to all models."},
                    "models": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "The models that it is attached to.",
                    },
                },
            },
        }
    },
}
