"""Actions over HTTP: result, events and errors as JSON."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pipeline_app.actions import Trigger
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.chat import wrong_type
from pipeline_app.errors import RequestError
from pipeline_app.runtime import engine
from pipeline_app.snapshot import snapshot

Json = dict[str, Any]


def check_action(body: Json) -> Json:
    """Returns an action request that functions can rely on. Raises ``RequestError`` naming the field."""
    for name in ("model", "chat_id", "id", "session_id"):
        if not isinstance(body.get(name), str | None):
            raise wrong_type(name, "a string", body[name])
    messages = body.get("messages")
    if not isinstance(messages, list | None):
        raise wrong_type("messages", "an array", messages)
    for number, message in enumerate(messages or ()):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{number}]", "an object", message)
    return body


class ActionView(AsyncAPIView):
    """``POST /api/chat/actions/{id}``: ``{"result", "events"}``."""

    scope = "actions"

    async def post(self, request: Request, action_id: str) -> HttpResponse:
        body = check_action(self.body())
        trigger = Trigger(engine.runner, await snapshot.functions(), self.caller(), action_id, body)
        run = {"X-Run-ID": str(trigger.record.id)}
        try:
            result = await trigger.run()
        except RequestError as error:
            error.headers.update(run)
            error.events = trigger.events
            raise
        return json_response({"result": result, "events": trigger.events}, headers=run)
