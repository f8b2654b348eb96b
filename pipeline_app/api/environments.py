"""Sets of packages: how building them goes, why one can't be had, and trying again."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models.functions import Right
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.models import Environment, FunctionVersion
from functions_app.models.environment import last_line
from functions_app.roles import ACTIVATE, AUTHOR, VIEW
from functions_app.wire import epoch
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import environments as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.preparing import is_there
from pipeline_app.runtime import engine

Json = dict[str, Any]


class EnvironmentNotFound(RequestError):
    """No such set of packages."""

    status = 404


def environment_or_404(environment_id: str) -> Environment:
    """Returns a stored set of packages. To be called where the database may be used."""
    try:
        found = Environment.objects.filter(pk=uuid.UUID(environment_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise EnvironmentNotFound(
            f"There is no environment '{environment_id}'.", param="id", code="environment_not_found"
        )
    return found


def whole(row: Environment) -> Json:
    """Returns a set with its lock and its log."""
    return {**told(row, row.progress, _versions([row]).get(row.pk, [])), "lock": row.lock, "log": row.log}


def told(row: Environment, progress: str, versions: list[Json]) -> Json:
    """Returns what a list has of a set."""
    return {
        "id": str(row.pk),
        "requirements": list(map(str, row.requirements)),
        "state": row.state,
        "kind": row.kind,
        "digest": row.digest,
        "python": row.python,
        "packages": row.packages,
        "size": row.size,
        "progress": progress,
        "error": row.error,
        "versions": versions,
        "created_at": epoch(row.created_at),
        "updated_at": epoch(row.updated_at),
        "used_at": epoch(row.used_at),
    }


def _versions(rows: list[Environment]) -> dict[uuid.UUID, list[Json]]:
    """Returns the versions that refer to sets, by the keys of these."""
    found: dict[uuid.UUID, list[Json]] = {}
    users = FunctionVersion.objects.filter(environment__in=rows).order_by("function_id", "-number")
    for key, function_id, pk, number, state in users.values_list(
        "environment_id", "function_id", "pk", "number", "state"
    ):
        about = {"function_id": function_id, "version_id": str(pk), "number": number, "state": state}
        found.setdefault(key, []).append(about)
    return found


class EnvironmentsView(AsyncAPIView):
    """``GET /api/v1/environments/``: all sets, the newest first."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR)}

    @describe("List sets of packages", answer=shapes.ENVIRONMENTS)
    async def get(self, request: Request) -> HttpResponse:
        """Returns all sets with the versions that refer to them, without locks and logs."""
        return json_response(await in_database(self._all))

    @staticmethod
    def _all() -> list[Json]:
        # Of a log, which may be long, the end is enough to know its last line.
        rows: list[Any] = list(Environment.objects.defer("lock", "log").annotate(log_end=Right("log", 500)))
        versions = _versions(rows)
        return [told(row, last_line(row.log_end), versions.get(row.pk, [])) for row in rows]


class EnvironmentView(AsyncAPIView):
    """``GET /api/v1/environments/{id}``."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR)}

    @describe("Read a set of packages", answer=shapes.ENVIRONMENT, errors=(404,))
    async def get(self, request: Request, environment_id: str) -> HttpResponse:
        """Returns a set with its lock and the log of its building, which grows while that goes on."""
        return json_response(await in_database(lambda: whole(environment_or_404(environment_id))))


class RetryView(AsyncAPIView):
    """``POST /api/v1/environments/{id}/retry``: builds one that failed once more."""

    scope = "functions"
    permissions = {"POST": (ACTIVATE,)}

    @describe(
        "Build a set of packages again",
        answer=shapes.ENVIRONMENT,
        also={202: shapes.ENVIRONMENT},
        errors=(404,),
    )
    async def post(self, request: Request, environment_id: str) -> HttpResponse:
        """Has a set that failed built again, and the versions published that only it kept from going live.

        202: it is being built. 200: it is there, and nothing is done.
        """
        row = await in_database(self._retry, environment_id)
        engine.builder.wake()
        return json_response(row, 202 if row["state"] == Environment.State.BUILDING else 200)

    @staticmethod
    def _retry(environment_id: str) -> Json:
        row = environment_or_404(environment_id)
        row.retry(is_there=is_there(row))
        return whole(environment_or_404(environment_id))
