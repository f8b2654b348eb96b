"""Runs: how one went, that one has begun, and answers to what one asks."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

_NUMBER_OR_NULL: Shape = {"type": ["number", "null"]}

RUN: Shape = {
    "title": "Run",
    "type": "object",
    "required": [
        "id", "request_id", "user_id", "kind", "model", "outcome", "background", "error", "started_at", "wall_ms",
        "steps",
    ],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "request_id": {"type": "string"},
        "user_id": {"type": ["string", "null"]},
        "kind": {"type": "string"},
        "model": {"type": "string"},
        "outcome": {"enum": ["running", "succeeded", "failed", "cancelled", "stopped"]},
        "background": {"type": "boolean"},
        "error": {"type": ["string", "null"]},
        "started_at": {"type": "number", "description": "Epoch seconds."},
        "wall_ms": {"type": "number"},
        "answer": {
            "type": ["object", "null"],
            "additionalProperties": True,
            "description": "Of background runs, for their owner: the completion, or an action's result and events.",
        },
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["function", "version", "hook", "queue_ms", "wall_ms", "cpu_ms"],
                "properties": {
                    "function": {"type": "string"},
                    "version": {"type": "integer"},
                    "hook": {"type": "string"},
                    "queue_ms": {"type": "number"},
                    "wall_ms": {"type": "number"},
                    "cpu_ms": _NUMBER_OR_NULL,
                    "memory_mb": _NUMBER_OR_NULL,
                },
                "additionalProperties": True,
            },
        },
    },
}  # fmt: skip

BEGUN: Shape = {
    "title": "Begun run",
    "type": "object",
    "required": ["id", "object", "status", "events"],
    "properties": {
        "id": {"type": "string", "format": "uuid", "description": "The run."},
        "object": {"const": "run"},
        "status": {"const": "running"},
        "events": {"type": "string", "description": "The path that follows it."},
    },
}

STOPPED: Shape = {
    "title": "Stopped run",
    "type": "object",
    "required": ["id", "stopped"],
    "properties": {"id": {"type": "string", "format": "uuid"}, "stopped": {"const": True}},
}

ANSWER: Shape = {
    "title": "Answer to a question",
    "type": "object",
    "properties": {
        "value": {"description": "What the function gets."},
        "data": {"description": "The same under another name."},
    },
    "anyOf": [{"required": ["value"]}, {"required": ["data"]}],
}

ANSWERED: Shape = {
    "title": "Answered question",
    "type": "object",
    "required": ["id", "run", "answered"],
    "properties": {"id": {"type": "string"}, "run": {"type": "string"}, "answered": {"const": True}},
}
