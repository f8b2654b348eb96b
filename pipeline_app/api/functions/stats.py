"""The totals of one function."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.roles import AUTHOR, VIEW
from pipeline_app import usage
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import function_or_404
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.runs import log

Json = dict[str, Any]

DAY = 86_400.0


class StatsView(AsyncAPIView):
    """``GET .../id/{id}/stats``: calls, errors, times, CPU and memory of the last ``seconds`` (a day)."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR)}

    @describe(
        "Read totals",
        answer=shapes.STATS,
        query={"seconds": {"type": "number", "exclusiveMinimum": 0, "description": "How far back; a day."}},
        errors=(400, 404),
    )
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns calls, errors, times, CPU and memory of the last so many seconds."""
        seconds = self._seconds(request.query_params.get("seconds"))
        # What this process has seen by now is to be in the answer.
        await in_database(log.write)
        return json_response(await in_database(self._stats, function_id, seconds))

    @staticmethod
    def _seconds(text: str | None) -> float:
        days: int = settings.FUNCTIONS_RUN_DAYS
        most = days * DAY
        if text is None:
            return min(DAY, most)
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= most:
            raise RequestError(
                f"'seconds' must be a number from 1 to {most:.0f}: totals are kept for {days} days.",
                param="seconds",
                code="invalid_value",
            )
        return seconds

    @staticmethod
    def _stats(function_id: str, seconds: float) -> Json:
        return usage.stats(function_or_404(function_id).id, seconds)
