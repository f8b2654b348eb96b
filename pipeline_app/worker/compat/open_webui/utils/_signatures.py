"""What a function's signature and docstring say, as the schema that models choose tools by."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import BaseModel, Field, create_model

Json = dict[str, Any]

_PARAM = re.compile(r":param\s+(?:\w+\s+)?(\w+):\s*(.+)")


def parse_description(docstring: str | None) -> str:
    """Returns what a docstring says before its first ``:param``."""
    if not docstring:
        return ""
    lines = []
    for line in docstring.strip().splitlines():
        if re.match(r"\s*:(param|return|returns|raises)\b", line):
            break
        lines.append(line.strip())
    return "\n".join(lines).strip()


def parse_docstring(docstring: str | None) -> dict[str, str]:
    """Returns what a docstring says of each parameter, but those that begin with two underscores."""
    found = _PARAM.findall(docstring or "")
    return {name: words.strip() for name, words in found if not name.startswith("__")}


def convert_function_to_pydantic_model(func: Callable[..., Any]) -> type[BaseModel]:
    """Returns a model whose fields are a function's parameters; its docstring describes them."""
    described = parse_docstring(func.__doc__)
    try:
        hints = get_type_hints(func)
    except Exception:  # a name that is not there any more: the annotations as they stand
        hints = dict(getattr(func, "__annotations__", {}))
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(func).parameters.items():
        if (
            name == "self"
            or name.startswith("__")
            or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        words = described.get(name)
        fields[name] = (hints.get(name, Any), Field(default, description=words) if words else default)
    model: type[BaseModel] = create_model(func.__name__, **fields)
    model.__doc__ = parse_description(func.__doc__)
    return model


def convert_pydantic_model_to_openai_function_spec(model: type[BaseModel]) -> Json:
    """Returns ``{"name", "description", "parameters"}`` of such a model."""
    schema = _without_titles(model.model_json_schema())
    description = schema.pop("description", "") or model.__doc__ or ""
    defs = schema.pop("$defs", None)
    parameters = {"properties": {}, **schema, "type": "object"}
    if defs:
        parameters = resolve_schema(parameters, {"schemas": defs})
    return {"name": model.__name__, "description": description.strip(), "parameters": parameters}


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: _without_titles(part) for key, part in value.items()}
        if name == "properties"
        else _without_titles(value)
        for name, value in schema.items()
        if name != "title" or isinstance(value, dict)
    }


def resolve_schema(schema: Any, components: Json | None = None, seen: frozenset[str] = frozenset()) -> Any:
    """Returns a schema with its references replaced by what they name; a circle of them ends in ``{}``."""
    if isinstance(schema, list):
        return [resolve_schema(part, components, seen) for part in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        found = ((components or {}).get("schemas") or {}).get(name)
        return {} if name in seen or found is None else resolve_schema(found, components, seen | {name})
    return {name: resolve_schema(value, components, seen) for name, value in schema.items()}


def clean_openai_tool_schema(spec: Json) -> Json:
    """Returns a tool's description without what models do not understand, and with a type for each parameter."""
    cleaned = {name: value for name, value in spec.items() if name in ("name", "description", "parameters", "strict")}
    parameters = dict(cleaned.get("parameters") or {})
    parameters.setdefault("type", "object")
    properties = {}
    for name, described in (parameters.get("properties") or {}).items():
        kept = dict(described) if isinstance(described, dict) else {}
        if not kept.keys() & {"type", "anyOf", "oneOf", "allOf", "enum", "$ref"}:
            kept["type"] = "string"
        properties[name] = kept
    cleaned["parameters"] = {**parameters, "properties": properties}
    return cleaned


def convert_openapi_to_tool_payload(openapi_spec: Json) -> list[Json]:
    """Returns the operations of an OpenAPI description as tools; those without ``operationId`` are left out."""
    components = openapi_spec.get("components") or {}
    tools = []
    for path, operations in (openapi_spec.get("paths") or {}).items():
        for method, operation in operations.items():
            if isinstance(operation, dict) and operation.get("operationId"):
                tools.append(_tool(path, method, operation, operations.get("parameters") or [], components))
    return tools


def _tool(path: str, method: str, operation: Json, shared: list[Json], components: Json) -> Json:
    properties: Json = {}
    required: list[str] = []
    for parameter in [*shared, *(operation.get("parameters") or [])]:
        schema = resolve_schema(parameter.get("schema") or {}, components)
        words = " ".join(filter(None, (schema.get("description"), parameter.get("description"))))
        properties[parameter["name"]] = {**schema, "type": schema.get("type", "string"), "description": words}
        if parameter.get("required"):
            required.append(parameter["name"])
    body = (operation.get("requestBody") or {}).get("content") or {}
    schema = resolve_schema((body.get("application/json") or {}).get("schema") or {}, components)
    properties |= schema.get("properties") or {}
    required += schema.get("required") or []
    description = operation.get("description") or operation.get("summary") or f"{method.upper()} {path}"
    parameters = {"type": "object", "properties": properties, "required": list(dict.fromkeys(required))}
    return {"type": "function", "name": operation["operationId"], "description": description, "parameters": parameters}
