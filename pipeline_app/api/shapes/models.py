"""Models, as OpenAI and as Open WebUI list them."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

MODEL: Shape = {
    "title": "Model",
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer", "description": "Epoch seconds."},
        "owned_by": {"type": "string"},
    },
}

MODEL_LIST: Shape = {
    "title": "Model list",
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": MODEL}},
}

_SHOWN: Shape = {
    "type": "object",
    "required": ["id", "name", "description", "icon"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "icon": {"type": ["string", "null"]},
    },
}

ACTION: Shape = {"title": "Action of a model", **_SHOWN}

TOGGLE_FILTER: Shape = {
    "title": "Toggle filter of a model",
    "type": "object",
    "required": [*_SHOWN["required"], "has_user_valves"],
    "properties": {**_SHOWN["properties"], "has_user_valves": {"type": "boolean"}},
}

INFO: Shape = {
    "title": "Preset of a model",
    "type": "object",
    "required": ["id", "name", "base_model_id", "params", "meta", "is_active", "created_at"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "base_model_id": {"type": ["string", "null"]},
        "params": {"type": "object", "description": "Always empty: parameters are not told."},
        "meta": {
            "type": "object",
            "required": ["filterIds", "actionIds", "defaultFilterIds"],
            "properties": {
                name: {"type": "array", "items": {"type": "string"}}
                for name in ("filterIds", "actionIds", "defaultFilterIds")
            },
        },
        "is_active": {"type": "boolean"},
        "created_at": {"type": "integer"},
    },
}

BASE_MODEL: Shape = {
    "title": "Base model",
    "type": "object",
    "required": [*MODEL["required"], "name", "pipe"],
    "properties": {
        **MODEL["properties"],
        "name": {"type": "string"},
        "pipe": {"type": "object", "required": ["type"], "properties": {"type": {"const": "pipe"}}},
        "has_user_valves": {"type": "boolean", "description": "Of pipes only."},
    },
}

BASE_MODEL_LIST: Shape = {
    "title": "Base model list",
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "array", "items": BASE_MODEL}},
}

WEBUI_MODEL: Shape = {
    "title": "Webui model",
    "type": "object",
    "required": [*BASE_MODEL["required"], "filters", "actions", "tags"],
    "properties": {
        **BASE_MODEL["properties"],
        "preset": {"const": True, "description": "Only where it is one."},
        "info": INFO,
        "filters": {"type": "array", "items": TOGGLE_FILTER},
        "actions": {"type": "array", "items": ACTION},
        "tags": {
            "type": "array",
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    },
}

WEBUI_MODEL_LIST: Shape = {
    "title": "Webui model list",
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "array", "items": WEBUI_MODEL}},
}
