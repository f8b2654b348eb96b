"""What users keep of their own: which toggle filters are on for them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.models import FilterSwitches, Function, User
from functions_app.roles import USE
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import users as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError

Json = dict[str, Any]


class FiltersView(AsyncAPIView):
    """``GET`` and ``POST /api/v1/users/me/filters``: the caller's default switches of toggle filters."""

    scope = "models"
    permissions = {"GET": (USE,), "POST": (USE,)}

    @describe("Read one's filter switches", answer=shapes.FILTERS)
    async def get(self, request: Request) -> HttpResponse:
        """Returns the toggle filters that are on where a request names none, by model, and those that there are."""
        return json_response(await in_database(self._read))

    @describe("Set filter switches", body=shapes.FILTERS_CHANGE, answer=shapes.FILTERS, errors=(400,))
    async def post(self, request: Request) -> HttpResponse:
        """Sets what is named, by model; null removes what is kept for a model. Others stay."""
        body = self.body()
        for name in body:
            if name != "filters":
                message = f"There is no field '{name[:80]}'; there is filters."
                raise RequestError(message, param=name, code="unknown_parameter")
        if not isinstance(body.get("filters"), dict):
            raise RequestError("'filters' must be an object.", param="filters", code="invalid_type")
        return json_response(await in_database(self._change, body["filters"]))

    def _change(self, switches: Json) -> Json:
        user = User.objects.filter(pk=self.person.id).first()
        if user is not None:
            try:
                FilterSwitches.objects.change(user, switches, {entry["id"] for entry in _available()})
            except ValidationError as error:
                model, messages = next(iter(error.message_dict.items()))
                message = f"{model}: {' '.join(messages)}"
                raise RequestError(message, param="filters", code="invalid_value") from None
        return self._read()

    def _read(self) -> Json:
        available = _available()
        there = {entry["id"] for entry in available}
        rows = FilterSwitches.objects.filter(user_id=self.person.id).values_list("model_id", "filters")
        return {
            "filters": {model: [name for name in filters if name in there] for model, filters in rows},
            "available": available,
        }


def _available() -> list[Json]:
    """Returns the active filters that have a toggle."""
    found = []
    for function in Function.objects.active().of_kind("filter").select_related("live"):
        manifest: Json = (function.live.manifest if function.live else None) or {}
        if manifest.get("toggle"):
            found.append(
                {
                    "id": function.id,
                    "name": function.name,
                    "description": str((function.meta or {}).get("description") or ""),
                    "icon": manifest.get("icon"),
                    "has_user_valves": manifest.get("user_valves") is not None,
                }
            )
    return found
