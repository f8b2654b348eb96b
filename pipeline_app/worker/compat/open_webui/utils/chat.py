"""Models as functions ask them: whatever the server's functions offer, for the caller of the running hook."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NoReturn

from pipeline_app.worker.hosts import HostError, current_host
from pipeline_app.worker.scope import current

Json = dict[str, Any]


class Failed(dict[str, Any]):
    """What a model that failed gives: ``{"error": {"detail"}}``; whoever looks for an answer in it is told why."""

    def __missing__(self, name: str) -> NoReturn:
        raise ModelFailed(self["error"]["detail"])


class ModelFailed(KeyError):
    """The model failed, so there is no answer."""

    def __str__(self) -> str:
        return f"The model failed: {self.args[0]}"


async def generate_chat_completion(
    request: Any,
    form_data: Json,
    user: Any = None,
    bypass_filter: bool = False,
    bypass_system_prompt: bool = False,
) -> Any:
    """Returns a model's answer, asked without filters: a dict, or with ``stream`` a response with ``body_iterator``.

    ``user`` may be a model or a dict, and is the caller: nobody else can be asked for. ``bypass_filter`` gives no
    rights that the caller does not have. Raises ``HostError`` for a model that is not there for the caller.
    """
    return await completion(request, form_data, user, system=not bypass_system_prompt)


async def completion(request: Any, body: Json, user: Any, *, system: bool = True, filters: bool = False) -> Any:
    """Returns a model's answer, with or without the filters of the server."""
    if not isinstance(body, dict):
        raise TypeError(f"A chat request is a dict, not {type(body).__name__}.")
    asked = {
        "body": {**body, "metadata": _metadata(request, body)},
        "user": _id_of(user),
        "system": system,
        "filters": filters,
    }
    parts: Any = current_host().parts("models.complete", asked)
    await anext(parts)
    if body.get("stream"):
        from starlette.responses import StreamingResponse

        return StreamingResponse(_text(parts), media_type="text/event-stream")
    async with aclosing(parts):
        async for part in parts:
            if "answer" in part:
                return part["answer"]
            if "error" in part:
                return Failed(error={**part["error"], "detail": part["error"]["message"]})
            _tell(part)
    raise HostError("The model gave no answer.")


async def _text(parts: Any) -> AsyncGenerator[str, None]:
    async with aclosing(parts):
        async for part in parts:
            if "data" in part:
                yield part["data"]
            elif "error" in part:
                error = {**part["error"], "detail": part["error"]["message"]}
                yield f"data: {json.dumps({'error': error}, ensure_ascii=False)}\n\n"
            else:
                _tell(part)


def _tell(part: Json) -> None:
    """Passes on an event of the model's function as if the running one had sent it."""
    scope = current.get()
    call = scope.work() if scope is not None and scope.work is not None else None
    if call is not None and "event" in part:
        from pipeline_app.worker.emitter import event_of

        call.send(event_of(part["event"]))


def _metadata(request: Any, body: Json) -> Json:
    own = getattr(getattr(request, "state", None), "metadata", None)
    given = body.get("metadata")
    return {**(given if isinstance(given, dict) else {}), **(own if isinstance(own, dict) else {})}


def _id_of(user: Any) -> str:
    found = user.get("id") if isinstance(user, dict) else getattr(user, "id", None)
    return "" if found is None else str(found)
