"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rest_framework.request import Request

from functions_app import generation
from functions_app.policy import is_enough
from functions_app.roles import AUDIT
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes.health import LIVES, READY
from pipeline_app.database import in_database
from pipeline_app.runtime import engine
from pipeline_app.snapshot import snapshot
from pipeline_app.upkeep import base_trouble


class LivesView(AsyncAPIView):
    """``GET /healthz``: the process answers; nothing else is looked at."""

    is_open = True

    @describe("Whether the process lives", answer=LIVES)
    async def get(self, request: Request) -> HttpResponse:
        return json_response({"status": True})


class ReadyView(AsyncAPIView):
    """``GET /readyz``: 200 when requests can be served: the database answers, migrations are applied, functions are
    isolated enough."""

    is_open = True

    @describe("Whether requests can be served", answer=READY, also={503: READY})
    async def get(self, request: Request) -> HttpResponse:
        checks: dict[str, Any] = {}
        ready = True
        try:
            missing = await in_database(_missing_migrations)
            checks["database"] = "ok"
            checks["migrations"] = "ok" if not missing else f"{missing} not applied: run manage.py migrate"
            ready = not missing
        except Exception as error:  # any driver's way of saying that the database is not there
            checks["database"] = f"{type(error).__name__}: the database does not answer"
            ready = False
        checks["generations"] = snapshot.publication_error or type(generation.publication()).__name__
        checks["packages"] = await in_database(base_trouble) or "ok"
        isolation, isolated = _isolation()
        checks.update(isolation)
        ready = ready and isolated
        return json_response({"status": ready, "checks": checks}, 200 if ready else 503)


def _isolation() -> tuple[dict[str, Any], bool]:
    """Returns the attested level and which layers hold, and whether that is what the installation asks for."""
    runner = engine.runner
    attestation = runner.attestation
    least = settings.FUNCTIONS_MIN_ISOLATION
    if attestation is None:
        said = "none: functions run in the server's process" if runner.isolation == "inline" else "not attested yet"
        return {"isolation": runner.isolation, "layers": said}, is_enough(runner.isolation, least)
    layers = {layer.name: "holds" if layer.held else "does not hold" for layer in attestation.layers}
    return {"isolation": attestation.level, "layers": layers}, is_enough(attestation.level, least)


def _missing_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


class MetricsView(AsyncAPIView):
    """``GET /metrics``: figures in Prometheus' text format. They name functions."""

    scope = "functions"
    permissions = {"GET": (AUDIT,)}

    @describe("Figures for Prometheus", answer={"type": "string"}, content="text/plain")
    async def get(self, request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
