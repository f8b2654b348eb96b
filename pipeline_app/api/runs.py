"""Runs over HTTP: how one went, and stopping one that goes on."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.models import Run
from pipeline_app.runs import Record, log, running
from pipeline_app.runtime import engine
from pipeline_app.snapshot import Person

Json = dict[str, Any]


VIEW = "pipeline_app.view_run"
"""Whose holders see all runs, and in them what functions printed and where they failed."""


class RunNotFound(RequestError):
    """No such run, or none that the caller may know of: told apart by nobody outside."""

    status = 404

    def __init__(self, run_id: str, what: str) -> None:
        super().__init__(f"There is no run '{run_id}' {what}.", param="id", code="run_not_found")


def visible(person: Person, owner_id: str) -> bool:
    """Whether a person may look at a run: their own, or all for who may view runs."""
    return owner_id == person.id or person.can(VIEW)


class RunView(AsyncAPIView):
    """``GET`` and ``DELETE /api/v1/runs/{id}``; the id is in the header ``X-Run-ID`` of the answer.

    A client that has no answer yet names the ``X-Request-ID`` that it sent.
    """

    scope = ""

    async def get(self, request: Request, run_id: str) -> HttpResponse:
        inside = self.person.can(VIEW)
        found = self._found(run_id, visible)
        if found:
            return json_response(found[0].to_wire(inside=inside))
        await in_database(log.write)
        row = await in_database(self._row, run_id)
        if row is None or not visible(self.person, str(row.user_id)):
            raise RunNotFound(run_id, "that you may see")
        return json_response(row.to_wire(inside=inside))

    async def delete(self, request: Request, run_id: str) -> HttpResponse:
        """Stops a run of this process: its calls, and what would have followed them."""
        found = self._found(run_id, lambda person, owner_id: owner_id == person.id or person.is_admin)
        if not found:
            raise RunNotFound(run_id, "of yours that runs in this server process")
        for record in found:
            by = "its owner" if record.person.id == self.person.id else "an administrator"
            await record.stop(engine.runner, by)
        return json_response({"id": str(found[0].id), "stopped": True})

    def _found(self, run_id: str, may: Callable[[Person, str], bool]) -> list[Record]:
        """Returns the running requests that an id names, the run's own or else the request's, if the caller may."""
        own = [record for record in list(running.values()) if may(self.person, record.person.id)]
        named = [record for record in own if run_id == str(record.id)]
        return named or [record for record in own if run_id == record.request_id]

    @staticmethod
    def _row(run_id: str) -> Run | None:
        try:
            return Run.objects.filter(pk=uuid.UUID(run_id)).first()
        except ValueError:
            return None
