"""What clients of Open WebUI ask a server about itself before they ask for anything else."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.roles import USE
from functions_app.system_events import VERSION
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes.about import CONFIG, VERSIONS

OURS = {"name": settings.SPECTACULAR_SETTINGS["TITLE"], "version": settings.SPECTACULAR_SETTINGS["VERSION"]}


class VersionView(AsyncAPIView):
    """``GET /api/version``: the version of Open WebUI whose API this is, and this server's own."""

    scope = "models"
    permissions = {"GET": (USE,)}

    @describe("The version of Open WebUI's API, and the server's own", answer=VERSIONS)
    async def get(self, request: Request) -> HttpResponse:
        return json_response({"version": VERSION, "server": OURS})


class ConfigView(AsyncAPIView):
    """``GET /api/config``: what of Open WebUI's features there is here."""

    scope = "models"
    permissions = {"GET": (USE,)}

    @describe("Which of Open WebUI's features there are", answer=CONFIG)
    async def get(self, request: Request) -> HttpResponse:
        """Says which features a client may show; what is not named is not there."""
        return json_response(
            {
                "status": True,
                "name": OURS["name"],
                "version": VERSION,
                "features": {
                    "auth": True,
                    "enable_api_keys": True,
                    "enable_plugins": True,
                    "enable_functions": True,
                    "enable_signup": False,
                    "enable_websocket": False,
                },
            }
        )
