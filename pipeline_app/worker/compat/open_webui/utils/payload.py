"""Bodies for providers: system prompts and parameters put into them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .._either import either
from .misc import add_or_update_system_message, replace_system_message_content
from .task import prompt_template, prompt_variables_template

Json = dict[str, Any]

OWN = (
    "stream_response",
    "stream_delta_chunk_size",
    "function_calling",
    "reasoning_tags",
    "system",
    "compact_token_threshold",
)
"""Parameters that are Open WebUI's own, and that no provider knows."""


@either
def apply_system_prompt_to_body(
    system: str | None, form_data: Json, metadata: Any = None, user: Any = None, replace: bool = False
) -> Json:
    """Puts a system prompt, filled in, before the one of the messages, or in its place. Changes the body."""
    if not system:
        return form_data
    variables = (metadata or {}).get("variables")
    if variables:
        system = prompt_variables_template(system, variables)
    system = prompt_template(system, user)
    messages = form_data.get("messages") or []
    if replace and any(message.get("role") == "system" for message in messages):
        form_data["messages"] = replace_system_message_content(system, messages)
    else:
        form_data["messages"] = add_or_update_system_message(system, messages)
    return form_data


apply_model_system_prompt_to_body = apply_system_prompt_to_body


def remove_open_webui_params(params: Json) -> Json:
    """Removes the parameters that no provider knows. Changes the dict."""
    for name in OWN:
        params.pop(name, None)
    return params


def apply_model_params_to_body(params: Json, form_data: Json, mappings: Mapping[str, Callable[[Any], Any]]) -> Json:
    """Puts parameters into a body, each as its mapping makes it; those without one are left out. Changes the body."""
    for name, value in (params or {}).items():
        if value is not None and name in mappings:
            form_data[name] = mappings[name](value)
    return form_data


def apply_model_params_to_body_openai(params: Json, form_data: Json) -> Json:
    """Puts parameters into a body for OpenAI's API, with custom ones merged. Changes the body."""
    params = remove_open_webui_params(dict(params or {}))
    custom = params.pop("custom_params", None) or {}
    for name, value in custom.items():
        form_data[name] = _read(value)
    return apply_model_params_to_body(params, form_data, _OPENAI)


def _read(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _stops(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    return [text.encode("latin-1", "backslashreplace").decode("unicode_escape") for text in texts]


_OPENAI: Mapping[str, Callable[[Any], Any]] = {
    "temperature": float,
    "top_p": float,
    "min_p": float,
    "max_tokens": int,
    "frequency_penalty": float,
    "presence_penalty": float,
    "reasoning_effort": str,
    "seed": lambda value: value,
    "stop": _stops,
    "logit_bias": lambda value: value,
    "response_format": _read,
}
