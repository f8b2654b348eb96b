"""What every error looks like."""

from __future__ import annotations

from typing import Any

ERROR: dict[str, Any] = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "What happened, where, and what to do."},
                "type": {"type": "string", "description": "Its family, such as invalid_request_error."},
                "param": {"type": ["string", "null"], "description": "The field that is wrong."},
                "code": {"type": ["string", "null"], "description": "Which error it is, for programs."},
            },
        },
        "detail": {"type": "string", "description": "The message again, under /api/."},
    },
}
