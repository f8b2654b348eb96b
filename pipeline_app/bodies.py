"""Bodies of requests: what of their shape functions can rely on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline_app.errors import RequestError

Json = dict[str, Any]

_KINDS: Mapping[type, str] = MappingProxyType(
    {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
)


def kind_of(value: Any) -> str:
    """Returns what JSON calls a value."""
    return _KINDS.get(type(value), "a number")


def wrong_type(param: str, must: str, value: Any) -> RequestError:
    """Returns the error of a field that is not what it must be."""
    return RequestError(f"'{param}' must be {must}, not {kind_of(value)}.", param=param, code="invalid_type")


def check_types(body: Json, kind: type, *names: str) -> None:
    """Raises ``RequestError`` for the first of these fields that is neither of a kind nor null or left out."""
    for name in names:
        if not isinstance(body.get(name), kind | None):
            raise wrong_type(name, _KINDS[kind], body[name])


def check_chat(body: Json) -> Json:
    """Returns a chat request that functions can rely on. Raises ``RequestError`` naming the field.

    Unknown parameters and content parts are left as they are: they are for the function.
    """
    model = body.get("model")
    if model is None or model == "":
        raise RequestError("You must provide a model parameter.", param="model", code="missing_required_parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    messages = body.get("messages")
    if messages is None:
        raise RequestError(
            "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
        )
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array", messages)
    if not messages:
        raise RequestError("'messages' is empty; it needs at least one message.", param="messages", code="empty_array")
    for number, message in enumerate(messages):
        _check_message(f"messages[{number}]", message)
    check_types(body, bool, "stream", "interactive", "background")
    check_types(body, dict, "stream_options", "params", "metadata", "features", "variables", "user_message")
    check_types(body, list, "files", "filter_ids", "tool_ids", "skill_ids")
    check_types(body, str, "chat_id", "id", "session_id")
    if not all(isinstance(name, str) for name in body.get("filter_ids") or ()):
        raise RequestError("'filter_ids' must be an array of strings.", param="filter_ids", code="invalid_type")
    return body


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise wrong_type(where, "an object", message)
    if not isinstance(message.get("role"), str):
        raise wrong_type(f"{where}.role", "a string", message.get("role"))
    content = message.get("content")
    if not isinstance(content, str | list | None):
        raise wrong_type(f"{where}.content", "a string or an array of parts", content)
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict):
            raise wrong_type(f"{where}.content[{number}]", "an object", part)
