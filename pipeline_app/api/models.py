"""The model lists: OpenAI's under ``/v1/``, Open WebUI's under ``/api/``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.roles import AUTHOR, USE, VIEW
from pipeline_app import wire
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes.models import BASE_MODEL_LIST, MODEL, MODEL_LIST, WEBUI_MODEL, WEBUI_MODEL_LIST
from pipeline_app.errors import ModelNotFound
from pipeline_app.pipes import described, find, target_model
from pipeline_app.runtime import engine
from pipeline_app.snapshot import snapshot

Json = dict[str, Any]


class ModelsView(AsyncAPIView):
    """``GET /v1/models``: what the key may call, without a key that OpenAI's shape does not have."""

    scope = "models"
    permissions = {"GET": (USE,)}

    @describe("The models that the key may call, in OpenAI's shape", answer=MODEL_LIST)
    async def get(self, request: Request) -> HttpResponse:
        functions = await snapshot.functions()
        found = await engine.catalog.models(functions, self.caller())
        return json_response(wire.model_list(wire.model(model["id"], model["created"]) for model, _, _ in found))


class ModelView(ModelsView):
    """``GET /v1/models/{id}``."""

    @describe("One of them", answer=MODEL, errors=(404,), any_error=True)
    async def get(self, request: Request, model_id: str) -> HttpResponse:  # type: ignore[override]
        functions = await snapshot.functions()
        target = find(functions, self.person, model_id)
        await engine.catalog.check(target, self.caller())
        model = target_model(target)
        return json_response(wire.model(model["id"], model["created"]))


class WebuiModelsView(ModelsView):
    """``GET /api/models``: the same models with names, presets, toggle filters and actions."""

    @describe("The models that the key may call, in Open WebUI's shape", answer=WEBUI_MODEL_LIST)
    async def get(self, request: Request) -> HttpResponse:
        functions = await snapshot.functions()
        found = await engine.catalog.models(functions, self.caller())
        return json_response({"data": [described(functions, *item) for item in found]})


class BaseModelsView(ModelsView):
    """``GET /api/models/base``: what there is to make presets of."""

    permissions = {"GET": (VIEW, AUTHOR)}

    @describe("The models of all active pipes, whoever may call them", answer=BASE_MODEL_LIST)
    async def get(self, request: Request) -> HttpResponse:
        """Returns them without presets, and without the filters and actions that apply to them."""
        functions = replace(await snapshot.functions(), presets={})
        found = await engine.catalog.models(functions, self.caller())
        return json_response({"data": [model for model, _, _ in found]})


class WebuiModelView(ModelsView):
    """``GET /api/models/{id}``."""

    @describe("One of them", answer=WEBUI_MODEL, errors=(404,))
    async def get(self, request: Request, model_id: str) -> HttpResponse:  # type: ignore[override]
        functions = await snapshot.functions()
        for model, pipe, preset in await engine.catalog.models(functions, self.caller()):
            if model["id"] == model_id:
                return json_response(described(functions, model, pipe, preset))
        raise ModelNotFound(model_id)
