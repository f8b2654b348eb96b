"""Chats: what a request holds, and what it answers."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

OBJECT: Shape = {"type": "object", "additionalProperties": True}

EVENTS: Shape = {
    "type": "array",
    "items": OBJECT,
    "description": "What functions told beside the answer: {type, data}.",
}

SWITCHES: Shape = {
    "stream": {"type": ["boolean", "null"], "description": "Answer as server-sent events."},
    "interactive": {
        "type": ["boolean", "null"],
        "description": "Functions may ask: of streams and background runs.",
    },
    "background": {"type": ["boolean", "null"], "description": "The run goes on without its client."},
}

MESSAGE: Shape = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"type": "string"},
        "content": {"type": ["string", "array", "null"], "items": OBJECT},
    },
    "additionalProperties": True,
}

_FIELDS: Shape = {
    "model": {"type": "string"},
    "messages": {"type": "array", "items": MESSAGE, "minItems": 1},
    "chat_id": {"type": ["string", "null"]},
    "id": {"type": ["string", "null"], "description": "The id of the answer's message."},
    "session_id": {"type": ["string", "null"]},
    "filter_ids": {
        "type": ["array", "null"],
        "items": {"type": "string"},
        "description": "The toggle filters that are on.",
    },
}

CHAT_REQUEST: Shape = {
    "title": "Chat request",
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        **_FIELDS,
        **SWITCHES,
        "stream_options": {"type": ["object", "null"], "additionalProperties": True},
        "params": {"type": ["object", "null"], "additionalProperties": True},
        "metadata": {"type": ["object", "null"], "additionalProperties": True},
        "features": {"type": ["object", "null"], "additionalProperties": True},
        "variables": {"type": ["object", "null"], "additionalProperties": True},
        "files": {"type": ["array", "null"], "items": {}},
        "tool_ids": {"type": ["array", "null"], "items": {}},
        "skill_ids": {"type": ["array", "null"], "items": {}},
    },
    "additionalProperties": True,
}

COMPLETION: Shape = {
    "title": "Completion",
    "description": "OpenAI's chat.completion; a pipe that returns an object of its own kind answers that.",
    "type": "object",
    "properties": {"events": EVENTS},
    "additionalProperties": True,
}

FINISHED_CHAT: Shape = {
    "title": "Finished chat",
    "type": "object",
    "required": ["model", "messages"],
    "properties": _FIELDS,
    "additionalProperties": True,
}

PASSED_CHAT: Shape = {
    "title": "Passed chat",
    "description": "The body as the filters left it.",
    "type": "object",
    "required": ["messages"],
    "properties": {"messages": {"type": "array", "items": {}}, "events": EVENTS},
    "additionalProperties": True,
}
