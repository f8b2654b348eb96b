"""Chat completions: the request checked, the answer as JSON or as a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from pipeline_app import wire
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.errors import RequestError
from pipeline_app.events import Channel
from pipeline_app.pipeline import Chat
from pipeline_app.runtime import engine
from pipeline_app.snapshot import snapshot
from pipeline_app.sse import Frames

logger = logging.getLogger(__name__)

Json = dict[str, Any]

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Without them proxies collect frames before they pass them on."""
IDLE_SECONDS = 15.0
"""After so long without a frame a comment goes out, so that nobody between thinks the connection dead."""


def wrong_type(param: str, must: str, value: Any) -> RequestError:
    return RequestError(f"'{param}' must be {must}, not {_named(value)}.", param=param, code="invalid_type")


def _named(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


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
    if not isinstance(body.get("stream"), bool | None):
        raise wrong_type("stream", "a boolean", body["stream"])
    for name in ("stream_options", "params", "metadata", "features", "variables", "user_message"):
        if not isinstance(body.get(name), dict | None):
            raise wrong_type(name, "an object", body[name])
    for name in ("files", "filter_ids", "tool_ids", "skill_ids"):
        if not isinstance(body.get(name), list | None):
            raise wrong_type(name, "an array", body[name])
    for name in ("chat_id", "id", "session_id"):
        if not isinstance(body.get(name), str | None):
            raise wrong_type(name, "a string", body[name])
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


class ChatCompletionsView(AsyncAPIView):
    """``POST .../chat/completions``."""

    scope = "models"

    async def post(self, request: Request) -> HttpResponseBase:
        body = check_chat(self.body())
        chat = Chat(engine.runner, engine.catalog, await snapshot.functions(), self.caller(), body)
        run = {"X-Run-ID": str(chat.record.id)}
        try:
            if body.get("stream"):
                return await self._stream(chat, run)
            return json_response(await chat.complete(), headers=run)
        except RequestError as error:
            if chat.record.steps:
                error.headers.update(run)
            raise

    async def _stream(self, chat: Chat, headers: dict[str, str]) -> HttpResponseBase:
        """Returns a streaming response once there is something to send: until then a failure has its status."""
        channel = Channel()
        task = asyncio.create_task(chat.stream(channel), name="chat stream")
        batches = channel.batches(IDLE_SECONDS)
        try:
            first: list[Any] = await anext(batches, [])
            while not first and not chat.filters.held and not task.done():
                first = await anext(batches, [])
        except BaseException:
            await stop(task)
            raise
        return StreamingHttpResponse(
            _frames(chat, task, batches, first),
            content_type="text/event-stream; charset=utf-8",
            headers={**STREAM_HEADERS, **headers},
        )


async def _frames(
    chat: Chat, task: asyncio.Task[None], batches: AsyncIterator[list[Any]], first: list[Any]
) -> AsyncIterator[bytes]:
    frames = Frames(chat.head)
    try:
        yield frames.encode(first) if first else wire.KEEP_ALIVE
        async for batch in batches:
            if encoded := frames.encode(batch) if batch else wire.KEEP_ALIVE:
                yield encoded
        yield wire.DONE
    except RequestError as error:
        yield frames.error(error)
    except Exception:
        logger.exception("A stream failed in the server")
        yield frames.error(RequestError("The server failed to go on; its log has the reason.", status=500))
    finally:
        await stop(task)


async def stop(task: asyncio.Task[None]) -> None:
    """Ends the work behind a stream; what it ended with was told through its channel."""
    if not task.done():
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
