"""Actions over HTTP: which there are, and triggering one, answered by its result, events and errors."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from functions_app.roles import USE
from pipeline_app.actions import Trigger
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes.actions import ACTION_LIST, ACTION_REQUEST, RESULT
from pipeline_app.api.shapes.runs import BEGUN
from pipeline_app.api.streaming import in_background, streamed
from pipeline_app.attachments import with_files
from pipeline_app.bodies import check_types, wrong_type
from pipeline_app.errors import RequestError
from pipeline_app.pipes import actions_for, buttons
from pipeline_app.runtime import engine
from pipeline_app.snapshot import snapshot
from pipeline_app.sse import Objects

Json = dict[str, Any]


def check_action(body: Json) -> Json:
    """Returns an action request that functions can rely on. Raises ``RequestError`` naming the field."""
    check_types(body, str, "model", "chat_id", "id", "session_id")
    check_types(body, bool, "stream", "interactive", "background")
    check_types(body, list, "messages")
    for number, message in enumerate(body.get("messages") or ()):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{number}]", "an object", message)
    return body


class ActionsView(AsyncAPIView):
    """``GET /api/chat/actions``: the actions that the caller may trigger, with the models they apply to."""

    scope = "actions"
    permissions = {"GET": (USE,)}

    @describe("The actions that the key may trigger", answer=ACTION_LIST)
    async def get(self, request: Request) -> HttpResponse:
        """Lists a global action with all models that the caller may call."""
        functions = await snapshot.functions()
        found = actions_for(functions, self.person)
        everywhere: list[str] = []
        if any(action.is_global for action, _ in found):
            offered = await engine.catalog.models(functions, self.caller())
            everywhere = sorted(model["id"] for model, _, _ in offered)
        return json_response(
            {
                "data": [
                    {**button, "global": action.is_global, "models": everywhere if action.is_global else models}
                    for action, models in found
                    for button in buttons(action)
                ]
            }
        )


class ActionView(AsyncAPIView):
    """``POST /api/chat/actions/{id}``, or ``{id}.{sub}``: ``{"result", "events"}``, or the same as a stream."""

    scope = "actions"
    permissions = {"POST": (USE,)}

    @describe(
        "Trigger an action",
        body=ACTION_REQUEST,
        answer=RESULT,
        frames='{"event": {...}} as they come, then {"result": ...}, then [DONE]',
        also={202: BEGUN},
        errors=(400, 404, 409, 413, 500, 502, 503, 504),
        any_error=True,
    )
    async def post(self, request: Request, action_id: str) -> HttpResponseBase:
        body = await with_files(check_action(self.body()), self.person)
        trigger = Trigger(engine.runner, await snapshot.functions(), self.caller(), action_id, body)
        record, interactive = trigger.record, bool(body.get("interactive"))
        try:
            if body.get("background"):
                stream = bool(body.get("stream"))
                return await in_background(record, trigger.stream, Objects(), interactive=interactive, stream=stream)
            if body.get("stream"):
                return await streamed(record, trigger.stream, Objects(), interactive=interactive)
            result = await trigger.run()
        except RequestError as error:
            error.headers["X-Run-ID"] = str(record.id)
            error.events = trigger.events
            raise
        return json_response({"result": result, "events": trigger.events}, headers={"X-Run-ID": str(record.id)})
