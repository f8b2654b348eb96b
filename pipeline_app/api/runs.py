"""Runs over HTTP: how one went, following one, answering what it asks, and stopping it."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from functions_app.roles import AUDIT, AUTHOR, USE
from pipeline_app import mailbox
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes.runs import ANSWER, ANSWERED, RUN, STOPPED
from pipeline_app.api.streaming import IDLE_SECONDS, sent
from pipeline_app.asking import QuestionClosed, QuestionNotFound
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.mailbox import may_stop
from pipeline_app.models import Run
from pipeline_app.models.presence import this_process
from pipeline_app.runs import log, under_way
from pipeline_app.runtime import engine
from pipeline_app.snapshot import Person
from pipeline_app.story import follow_stored, told

Json = dict[str, Any]

FOLLOWERS_MOST = 64
FOLLOWERS_EACH = 16
"""How many may follow runs that another process has, or that have ended, and how many of them one person: each looks
into the database for them."""
_NUMBER = re.compile(r"\d{1,9}", re.ASCII).fullmatch

_followers: Counter[str] = Counter()


class RunNotFound(RequestError):
    """No such run, or none that the caller may know of: told apart by nobody outside."""

    status = 404

    def __init__(self, run_id: str, what: str) -> None:
        super().__init__(f"There is no run '{run_id}' {what}.", param="id", code="run_not_found")


def visible(person: Person, owner_id: str) -> bool:
    """Whether a person may look at a run: their own, or all for who may view runs."""
    return owner_id == person.id or person.can(AUDIT)


def _uuid(run_id: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(run_id)
    except ValueError:
        return None


def _row(run_id: str) -> Run | None:
    """Returns a run that is written, ended by now if its process has ended."""
    key = _uuid(run_id)
    if key is None:
        return None
    Run.objects.filter(pk=key).bury()
    return Run.objects.filter(pk=key).first()


def _goes_on_elsewhere(row: Run) -> bool:
    """Whether another process has a run; of one of this process the end may not be written yet."""
    return row.outcome == Run.Outcome.RUNNING and row.process != this_process()


class RunView(AsyncAPIView):
    """``GET`` and ``DELETE /api/v1/runs/{id}``; the id is in the header ``X-Run-ID`` of the answer.

    A client that has no answer yet names the ``X-Request-ID`` that it sent.
    """

    scope = ""
    permissions = {"GET": (USE, AUTHOR, AUDIT), "DELETE": (USE, AUTHOR)}

    @describe("How a run went, or goes", answer=RUN, errors=(404,))
    async def get(self, request: Request, run_id: str) -> HttpResponse:
        inside = self.person.can(AUDIT)
        found = under_way(run_id, visible, self.person)
        if found:
            return json_response(found[0].to_wire(inside=inside))
        await in_database(log.write)
        row = await in_database(_row, run_id)
        if row is None or not visible(self.person, str(row.user_id)):
            raise RunNotFound(run_id, "that you may see")
        shown = row.to_wire(inside=inside)
        if row.background and may_stop(self.person, str(row.user_id)):
            shown["answer"] = row.answer
        return json_response(shown)

    @describe("Stop a run: its calls, and what would have followed them", answer=STOPPED, errors=(404,))
    async def delete(self, request: Request, run_id: str) -> HttpResponse:
        stopped = await mailbox.stop(run_id, self.person, engine.runner)
        if stopped is None and await in_database(self._may_run_elsewhere, run_id):
            stopped = await mailbox.stop_elsewhere(run_id, self.person)
        if stopped is None:
            raise RunNotFound(run_id, "of yours that goes on")
        return json_response({"id": stopped, "stopped": True})

    @staticmethod
    def _may_run_elsewhere(run_id: str) -> bool:
        """Whether another process may have a run: most are written only when they have ended."""
        row = _row(run_id)
        if row is None:
            return len(run_id) <= 64 and "\0" not in run_id
        return _goes_on_elsewhere(row)


class RunEventsView(AsyncAPIView):
    """``GET /api/v1/runs/{id}/events``: what a background run has said and goes on to say, from any process.

    Each frame has an id; with ``Last-Event-ID``, or ``?after=``, those come that follow it.
    """

    scope = ""
    permissions = {"GET": (USE, AUTHOR)}

    @describe(
        "Follow a background run",
        answer={"type": "string", "description": "Frames as they come, each with its id, then [DONE]."},
        content="text/event-stream",
        query={
            "after": {
                "type": "integer",
                "minimum": 0,
                "maximum": 999999999,
                "description": "The id of the last frame that is known.",
            }
        },
        errors=(400, 404),
    )
    async def get(self, request: Request, run_id: str) -> HttpResponseBase:
        after = self._after(request)
        key = _uuid(run_id)
        row = await in_database(_row, run_id)
        if row is None or key is None or not may_stop(self.person, str(row.user_id)):
            raise RunNotFound(run_id, "of yours that can be followed")
        if not row.background:
            raise RequestError(
                f"Run '{run_id}' keeps no events: only requests with \"background\": true do.",
                status=404,
                param="id",
                code="events_not_kept",
            )
        story = told.get(key)
        if story is not None:
            return sent(story.follow(after, IDLE_SECONDS), str(key))
        return sent(self._followed(key, after), str(key))

    @staticmethod
    def _after(request: Request) -> int:
        given = request.headers.get("Last-Event-ID") or request.GET.get("after") or "0"
        if not _NUMBER(given):
            raise RequestError(
                "'after', or Last-Event-ID, must be the id of a frame: a whole number.",
                param="after",
                code="invalid_value",
            )
        return int(given)

    def _followed(self, key: uuid.UUID, after: int) -> Any:
        if _followers[self.person.id] >= FOLLOWERS_EACH or _followers.total() >= FOLLOWERS_MOST:
            raise RequestError(
                "Too many follow runs through this server process; try again in a moment.",
                status=429,
                code="rate_limit_exceeded",
                headers={"Retry-After": "5"},
            )
        return _counted(self.person.id, key, after)


async def _counted(follower: str, key: uuid.UUID, after: int) -> Any:
    _followers[follower] += 1
    try:
        async for frames in follow_stored(key, after, IDLE_SECONDS, lambda: engine.backgrounds.closing):
            yield frames
    finally:
        _followers[follower] -= 1
        if not _followers[follower]:
            del _followers[follower]


class QuestionView(AsyncAPIView):
    """``POST /api/v1/runs/{id}/events/{event}``: the answer to what a function asks; the first one counts."""

    scope = ""
    permissions = {"POST": (USE, AUTHOR)}

    @describe("Answer what a run asks", body=ANSWER, answer=ANSWERED, errors=(400, 404, 409, 410, 413, 503))
    async def post(self, request: Request, run_id: str, event_id: str) -> HttpResponse:
        body = self.body()
        name = next((name for name in ("value", "data") if name in body), None)
        if name is None:
            raise RequestError("Missing required parameter: 'value'.", param="value", code="missing_required_parameter")
        run_id = str(_uuid(run_id) or run_id)  # however it is written
        if not mailbox.answer(run_id, event_id, body[name], self.person):
            await self._answer_elsewhere(run_id, event_id, body[name])
        return json_response({"id": event_id, "run": run_id, "answered": True})

    async def _answer_elsewhere(self, run_id: str, event_id: str, value: Any) -> None:
        row = await in_database(_row, run_id)
        if row is None or not may_stop(self.person, str(row.user_id)):
            raise RunNotFound(run_id, "of yours that asks anything")
        if _uuid(event_id) is None:
            raise QuestionNotFound(run_id, event_id)
        if not _goes_on_elsewhere(row):
            raise QuestionClosed(event_id, "its run has ended")
        if await mailbox.answer_elsewhere(run_id, event_id, value, self.person):
            return
        row = await in_database(_row, run_id)
        if row is None or row.outcome != Run.Outcome.RUNNING:
            raise QuestionClosed(event_id, "its run has ended")
        raise RequestError(
            f"The server process that has run '{run_id}' does not answer at the moment; try again.",
            status=503,
            code="unavailable",
            headers={"Retry-After": "1"},
        )
