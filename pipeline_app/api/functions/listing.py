"""Functions to read: all of them, trimmed for who may only use them, and one of them with its source."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from functions_app import wire
from functions_app.models import Function
from functions_app.roles import AUTHOR, USE, VIEW
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import about, answer, function_or_404, looks_inside, whole
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.database import in_database
from pipeline_app.snapshot import Person

Json = dict[str, Any]


class FunctionsView(AsyncAPIView):
    """``GET /api/v1/functions/``: what there is, without sources."""

    scope = "functions"
    permissions = {"GET": (USE, VIEW, AUTHOR)}

    @describe("List functions", answer=shapes.RESPONSES)
    async def get(self, request: Request) -> HttpResponse:
        """Lists all functions by id; for people who may not view functions, those that are active."""
        return json_response(await in_database(self._all, self.person))

    @staticmethod
    def _all(person: Person) -> list[Json]:
        sees_all = looks_inside(person)
        rows = Function.objects.order_by("id")
        told = [
            {**wire.response(function, version), **about(version)}
            for function, version in wire.shown(rows if sees_all else rows.active())
        ]
        return told if sees_all else [wire.trimmed(function) for function in told]


class FunctionListView(AsyncAPIView):
    """``GET /api/v1/functions/list``: the same with owners, what changed last first."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR)}

    @describe("List functions with their owners", answer=shapes.USER_RESPONSES)
    async def get(self, request: Request) -> HttpResponse:
        """Lists all functions, the one that changed last first, each with its owner."""
        return json_response(await in_database(self._all))

    @staticmethod
    def _all() -> list[Json]:
        rows = Function.objects.select_related("owner").order_by("-updated_at", "id")
        return [
            {**wire.response(function, version), "user": wire.owner(function.owner), **about(version)}
            for function, version in wire.shown(rows)
        ]


class FunctionView(AsyncAPIView):
    """``GET .../id/{id}``: one function with the source that serves, else the newest."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR)}

    @describe("Read a function", answer=shapes.MODEL, errors=(404,))
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns a function with the source of its live version; of the newest when nothing is live."""
        return await in_database(self._one, function_id)

    def _one(self, function_id: str) -> HttpResponse:
        function = function_or_404(function_id)
        version = function.live or function.newest
        return answer(function, whole(self.person, function, version), version)
