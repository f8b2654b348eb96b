"""What the server says of itself."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

VERSIONS: Shape = {
    "title": "Versions",
    "type": "object",
    "required": ["version", "server"],
    "properties": {
        "version": {"type": "string", "description": "Of Open WebUI, whose API this is."},
        "server": {
            "type": "object",
            "required": ["name", "version"],
            "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
        },
    },
}

CONFIG: Shape = {
    "title": "Features",
    "type": "object",
    "required": ["status", "name", "version", "features"],
    "properties": {
        "status": {"const": True},
        "name": {"type": "string"},
        "version": {"type": "string", "description": "Of Open WebUI, whose API this is."},
        "features": {"type": "object", "additionalProperties": {"type": "boolean"}},
    },
}
