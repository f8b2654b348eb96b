"""Tools: their descriptions for models, and functions with their special arguments bound."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .._either import either
from ._signatures import (
    clean_openai_tool_schema,
    convert_function_to_pydantic_model,
    convert_openapi_to_tool_payload,
    convert_pydantic_model_to_openai_function_spec,
    parse_description,
    parse_docstring,
    resolve_schema,
)

__all__ = [
    "clean_openai_tool_schema",
    "convert_function_to_pydantic_model",
    "convert_openapi_to_tool_payload",
    "convert_pydantic_model_to_openai_function_spec",
    "get_async_tool_function_and_apply_extra_params",
    "get_functions_from_tool",
    "get_tool_specs",
    "get_updated_tool_function",
    "parse_description",
    "parse_docstring",
    "resolve_schema",
]

Json = dict[str, Any]


def get_functions_from_tool(tool: object) -> list[Callable[..., Any]]:
    """Returns the methods that a tool kit offers: those of its own without a leading underscore, and no classes."""
    names = [name for name in dir(tool) if not name.startswith("_")]
    found = [getattr(tool, name) for name in names]
    return [value for value in found if callable(value) and not inspect.isclass(value)]


def get_tool_specs(tool: object) -> list[Json]:
    """Returns the descriptions of what a tool kit offers."""
    models = [convert_function_to_pydantic_model(function) for function in get_functions_from_tool(tool)]
    return [convert_pydantic_model_to_openai_function_spec(model) for model in models]


def _bound(function: Callable[..., Any], extra_params: Json) -> Callable[..., Any]:
    own = getattr(function, "__wrapped_tool__", function)
    before = getattr(function, "__extra_params__", {})
    wanted = inspect.signature(own).parameters
    extra = {**before, **{name: value for name, value in extra_params.items() if name in wanted}}

    @functools.wraps(own)
    async def call(*args: Any, **kwargs: Any) -> Any:
        result = own(*args, **{**kwargs, **extra})
        return await result if inspect.isawaitable(result) else result

    kept = [parameter for name, parameter in wanted.items() if name not in extra]
    call.__dict__["__signature__"] = inspect.signature(own).replace(parameters=kept)
    call.__dict__["__wrapped_tool__"] = own
    call.__dict__["__extra_params__"] = extra
    return call


@either
def get_async_tool_function_and_apply_extra_params(
    function: Callable[..., Any], extra_params: Json, *_: Any, **__: Any
) -> Callable[..., Any]:
    """Returns a coroutine function that gives a tool those of the special arguments that it asks for."""
    return _bound(function, extra_params)


@either
def get_updated_tool_function(function: Callable[..., Any], extra_params: Json) -> Callable[..., Any]:
    """Returns such a function with special arguments replaced by newer ones."""
    return _bound(function, extra_params)
