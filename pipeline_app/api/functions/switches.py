"""The two switches of a function."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.models import Function
from functions_app.roles import ACTIVATE
from pipeline_app.api.base import AsyncAPIView
from pipeline_app.api.functions.base import answer, function_or_404, invalid, whole
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.bodies import wrong_type
from pipeline_app.database import in_database


class SwitchView(AsyncAPIView):
    """A switch that is turned over, or where a body says so to a side."""

    scope = "functions"
    permissions = {"POST": (ACTIVATE,)}
    field = ""

    async def turned(self, function_id: str) -> HttpResponse:
        body = self.body() if self.request._request.body.strip() else {}
        on = body.get(self.field)
        if not isinstance(on, bool | None):
            raise wrong_type(self.field, "a boolean", on)
        return await in_database(self._turn, function_id, on)

    def _turn(self, function_id: str, on: bool | None) -> HttpResponse:
        try:
            function = function_or_404(function_id).switch(self.field, on)
        except ValidationError as error:
            raise invalid(error) from None
        except Function.DoesNotExist:
            function_or_404(function_id)  # deleted between two looks
            raise
        version = function.live or function.newest
        return answer(function, whole(self.person, function, version), version)


class ToggleView(SwitchView):
    """``POST .../id/{id}/toggle``."""

    field = "is_active"

    @describe(
        "Switch a function on or off", body=shapes.switch("is_active"), answer=shapes.MODEL, errors=(400, 404, 409)
    )
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Turns ``is_active`` over; with ``{"is_active": true}`` it is on afterwards, whatever it was."""
        return await self.turned(function_id)


class ToggleGlobalView(SwitchView):
    """``POST .../id/{id}/toggle/global``."""

    field = "is_global"

    @describe("Make a function global or not", body=shapes.switch("is_global"), answer=shapes.MODEL, errors=(400, 404))
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Turns ``is_global`` over; with ``{"is_global": true}`` it is on afterwards, whatever it was."""
        return await self.turned(function_id)
