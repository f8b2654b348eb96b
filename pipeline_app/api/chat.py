"""Chat completions: the request checked, the answer as JSON or as a stream."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from functions_app.roles import USE
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes.chat import CHAT_REQUEST, COMPLETION
from pipeline_app.api.shapes.runs import BEGUN
from pipeline_app.api.streaming import in_background, streamed
from pipeline_app.attachments import with_files
from pipeline_app.bodies import check_chat
from pipeline_app.errors import RequestError
from pipeline_app.pipeline import Chat
from pipeline_app.runtime import engine
from pipeline_app.snapshot import snapshot
from pipeline_app.sse import Frames


class ChatCompletionsView(AsyncAPIView):
    """``POST .../chat/completions``."""

    scope = "models"
    permissions = {"POST": (USE,)}

    @describe(
        "An answer to a chat",
        body=CHAT_REQUEST,
        answer=COMPLETION,
        frames="OpenAI's chunks, with events in line, then [DONE]",
        also={202: BEGUN},
        errors=(400, 404, 409, 413, 500, 502, 503, 504),
        any_error=True,
    )
    async def post(self, request: Request) -> HttpResponseBase:
        body = await with_files(check_chat(self.body()), self.person)
        background, stream = bool(body.get("background")), bool(body.get("stream"))
        if background:
            body = {**body, "stream": True}  # what is kept of it is a stream, whoever reads it
        chat = Chat(engine.runner, engine.catalog, await snapshot.functions(), self.caller(), body)
        record = chat.record
        try:
            if not stream and not background:
                return json_response(await chat.complete(), headers={"X-Run-ID": str(record.id)})
            frames, interactive = Frames(chat.head), bool(body.get("interactive"))
            if background:
                return await in_background(record, chat.stream, frames, interactive=interactive, stream=stream)
            held = chat.filters.held
            return await streamed(record, chat.stream, frames, interactive=interactive, at_once=held)
        except RequestError as error:
            if record.steps:
                error.headers["X-Run-ID"] = str(record.id)
            raise
