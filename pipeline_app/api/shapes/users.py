"""What users keep of their own over HTTP."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

_TEXT_OR_NULL: Shape = {"type": ["string", "null"]}

FILTERS: Shape = {
    "title": "UserFilters",
    "type": "object",
    "required": ["filters", "available"],
    "properties": {
        "filters": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "The toggle filters that are on, by model; * stands for all models that are not named.",
        },
        "available": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "name", "description", "icon", "has_user_valves"],
                "properties": {
                    "id": {"type": "string"},
                    "name": {"type": "string"},
                    "description": {"type": "string"},
                    "icon": _TEXT_OR_NULL,
                    "has_user_valves": {"type": "boolean"},
                },
            },
        },
    },
}

FILTERS_CHANGE: Shape = {
    "title": "UserFiltersChange",
    "type": "object",
    "required": ["filters"],
    "additionalProperties": False,
    "properties": {
        "filters": {
            "type": "object",
            "additionalProperties": {"type": ["array", "null"], "items": {"type": "string"}},
            "description": "By model, the toggle filters that are to be on; null removes what is kept for the model.",
        }
    },
}
