"""What functions may ask of models: to answer, and which there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from functions_app.roles import USE
from pipeline_app.completions import Completions
from pipeline_app.errors import RequestError
from pipeline_app.hostcalls.declared import Asked, HostCall, Json, Parameter, text
from pipeline_app.models import Scope


async def _complete(asked: Asked, body: Json, user: str, filters: bool, system: bool) -> AsyncIterator[Any]:
    """Yields a model's answer in parts, see ``Completions.answer``."""
    if user and user != asked.person.id:
        raise RequestError("A model is asked for the person behind the request, and for nobody else.")
    async for part in _completions(asked).answer(asked.identity, body, filtered=filters, system=system):
        yield part


async def _available(asked: Asked) -> list[Json]:
    """Returns the models that the person may call, as Open WebUI's list has them."""
    return await _completions(asked).models(asked.identity)


def _completions(asked: Asked) -> Completions:
    asked.needs(USE, "call models")
    if asked.completions is None:
        raise RequestError("This server has no models to ask.")
    return asked.completions


def _switch(default: bool) -> Parameter:
    return Parameter("true or false", lambda value: type(value) is bool, default)


METHODS: Mapping[str, HostCall] = MappingProxyType(
    {
        "models.complete": HostCall(
            "models",
            Scope.MODELS.value,
            {
                "body": Parameter("an object: a chat request", lambda value: type(value) is dict),
                "user": replace(text(), default=""),
                "filters": _switch(False),
                "system": _switch(True),
            },
            _complete,
        ),
        "models.available": HostCall("models", Scope.MODELS.value, {}, _available),
    }
)
