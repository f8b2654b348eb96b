"""Outlet filters for a chat that is over: what Open WebUI's clients ask for when an answer is there."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.roles import USE
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes.chat import FINISHED_CHAT, PASSED_CHAT
from pipeline_app.attachments import with_files
from pipeline_app.bodies import check_chat
from pipeline_app.errors import RequestError
from pipeline_app.finished import Finished
from pipeline_app.runtime import engine
from pipeline_app.snapshot import snapshot


class CompletedView(AsyncAPIView):
    """``POST /api/chat/completed``: the body as the outlet filters of its model leave it.

    What the filters emitted is in ``events``, where there is anything.
    """

    scope = "models"
    permissions = {"POST": (USE,)}

    @describe(
        "Pass a finished chat through outlet filters",
        body=FINISHED_CHAT,
        answer=PASSED_CHAT,
        errors=(400, 404, 409, 413, 500, 502, 503, 504),
        any_error=True,
    )
    async def post(self, request: Request) -> HttpResponse:
        body = await with_files(check_chat(self.body()), self.person)
        finished = Finished(engine.runner, await snapshot.functions(), self.caller(), body)
        run = {"X-Run-ID": str(finished.record.id)}
        try:
            left = await finished.run()
        except RequestError as error:
            error.headers.update(run)
            error.events = finished.events
            raise
        if finished.events:
            left = {**left, "events": finished.events}
        return json_response(left, headers=run if finished.record.steps else None)
