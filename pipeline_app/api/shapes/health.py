"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from typing import Any

LIVES: dict[str, Any] = {"type": "object", "required": ["status"], "properties": {"status": {"const": True}}}

READY: dict[str, Any] = {
    "title": "Readiness",
    "type": "object",
    "required": ["status", "checks"],
    "properties": {
        "status": {"type": "boolean"},
        "checks": {
            "type": "object",
            "required": ["database", "generations", "packages", "isolation", "layers"],
            "properties": {
                "database": {"type": "string"},
                "migrations": {"type": "string", "description": "Absent while the database does not answer."},
                "generations": {"type": "string", "description": "Where changes are published."},
                "packages": {"type": "string", "description": "Whether what functions find installed is there."},
                "isolation": {"type": "string", "description": "The attested level."},
                "layers": {"type": ["object", "string"], "description": "Which layers hold."},
            },
        },
    },
}
