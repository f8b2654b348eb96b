"""What one function may do."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.models import Function
from functions_app.roles import AUTHOR, SET_POLICY, VIEW
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import function_or_404
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError

Json = dict[str, Any]


class PolicyView(AsyncAPIView):
    """``GET`` and ``POST .../id/{id}/policy``: the rules that hold, and in ``stored`` the function's own."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR, SET_POLICY), "POST": (SET_POLICY,)}

    @describe("Read a policy", answer=shapes.POLICY, errors=(404,))
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns what the function may do, and in ``stored`` what it says of that itself."""
        return json_response(await in_database(self._change, function_id, {}))

    @describe("Change a policy", body=shapes.POLICY_CHANGE, answer=shapes.POLICY, errors=(400, 404))
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Changes the fields that are named; null takes one back to its default."""
        return json_response(await in_database(self._change, function_id, self.body()))

    @staticmethod
    def _change(function_id: str, partial: Json) -> Json:
        function = function_or_404(function_id)
        if partial:
            try:
                function.change_policy(partial)
            except ValidationError as error:
                raise invalid_policy(error) from None
            except Function.DoesNotExist:
                function_or_404(function_id)  # deleted between two looks
                raise
        return {**function.effective_policy().to_wire(), "stored": function.policy}


def invalid_policy(error: ValidationError) -> RequestError:
    """Returns the refusal of fields of a policy, with the first of them as its parameter."""
    fields = error.message_dict
    sentences = [f"{name}: {' '.join(messages)}" for name, messages in fields.items()]
    return RequestError(" ".join(sentences), param=next(iter(fields)), code="invalid_policy")
