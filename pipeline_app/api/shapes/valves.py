"""Valves, their specs and the rules on them over HTTP."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

VALVES: Shape = {
    "title": "Valves",
    "type": "object",
    "additionalProperties": True,
    "description": "What is set, by field. Secrets show as ********.",
}

VALVES_CHANGE: Shape = {
    "title": "ValvesChange",
    "type": "object",
    "additionalProperties": True,
    "description": "What is to be set, in place of all that is. A secret that is absent, empty or ******** stays; "
    "null takes a field back to its default.",
}

SPEC: Shape = {
    "title": "ValvesSpec",
    "type": ["object", "null"],
    "additionalProperties": True,
    "description": "The JSON schema of the function's own model, with its dynamic options and within the rules; "
    "null when there is nothing to set.",
}

_RULE: Shape = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "minimum": {"type": ["number", "null"]},
        "maximum": {"type": ["number", "null"]},
        "choices": {"type": ["array", "null"], "minItems": 1, "maxItems": 100, "items": {}},
        "pattern": {"type": ["string", "null"], "maxLength": 500},
        "default": {"description": "Holds where nothing is set, instead of the code's own default."},
        "fixed": {"description": "Holds in any case."},
    },
}

_FIELDS: Shape = {"type": "object", "additionalProperties": _RULE}

RULES: Shape = {
    "title": "ValvesRules",
    "type": "object",
    "required": ["valves", "user_valves"],
    "properties": {"valves": _FIELDS, "user_valves": _FIELDS},
}

RULES_CHANGE: Shape = {
    "title": "ValvesRulesChange",
    "type": "object",
    "additionalProperties": False,
    "properties": {"valves": _FIELDS, "user_valves": _FIELDS},
    "description": "The rules of a scope that is named replace those that there are.",
}
