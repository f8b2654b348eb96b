"""The schema over HTTP, and the page that shows it: both for everybody, since they tell what is in the docs anyway."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from django.http import HttpResponse
from django.template.loader import render_to_string
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from rest_framework.request import Request

from pipeline_app.api.base import AsyncAPIView
from pipeline_app.api.openapi import describe
from pipeline_app.api.schema import document
from pipeline_app.errors import RequestError

FORMATS = {"json": (OpenApiJsonRenderer, "application/json"), "yaml": (OpenApiYamlRenderer, "application/yaml")}


@lru_cache(maxsize=len(FORMATS))
def rendered(name: str) -> bytes:
    """Returns the schema as bytes of a format, made once per process."""
    text: str | bytes = FORMATS[name][0]().render(document())
    return text.encode() if isinstance(text, str) else text


class SchemaView(AsyncAPIView):
    """``GET /api/schema/``: the schema, as JSON unless ``?format=yaml`` or ``Accept`` asks for YAML."""

    is_open = True

    @describe(
        "The OpenAPI schema of this API",
        answer={"type": "object"},
        also_as=("application/yaml",),
        query={"format": {"type": "string", "enum": list(FORMATS), "description": "Without it, what Accept asks for."}},
        errors=(400,),
        tags=("schema",),
    )
    async def get(self, request: Request) -> HttpResponse:
        name = request.query_params.get("format") or self._accepted(request.META.get("HTTP_ACCEPT", ""))
        if name not in FORMATS:
            raise RequestError(f"'format' must be {' or '.join(FORMATS)}.", param="format", code="invalid_value")
        # Made in a thread: the first time takes some tenths of a second.
        return HttpResponse(await asyncio.to_thread(rendered, name), content_type=FORMATS[name][1])

    @staticmethod
    def _accepted(accept: str) -> str:
        return "yaml" if "yaml" in accept and "json" not in accept else "json"


class DocsView(AsyncAPIView):
    """``GET /api/docs/``: a page on which the schema is read and tried."""

    is_open = True

    @describe("This API as a page to read and try", answer={"type": "string"}, content="text/html", tags=("schema",))
    async def get(self, request: Request) -> HttpResponse:
        return HttpResponse(render_to_string("pipeline_app/docs.html"))
