"""A check of code that is not saved and does not come to serve."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from functions_app.models import Function, FunctionVersion
from functions_app.models.function import clean_id, clean_name
from functions_app.policy import Policy
from functions_app.roles import AUTHOR, SET_POLICY
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import invalid
from pipeline_app.api.functions.policy import invalid_policy
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import validate as shapes
from pipeline_app.bodies import check_types
from pipeline_app.checking import check
from pipeline_app.checking.sets import look_up
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.runners.base import Code
from pipeline_app.runtime import code_of, engine

Json = dict[str, Any]

NAMELESS = "function"


class ValidateView(AsyncAPIView):
    """``POST /api/v1/functions/validate``: what is to be said of a source."""

    scope = "functions"
    permissions = {"POST": (AUTHOR,)}

    @describe("Check code", body=shapes.BODY, answer=shapes.ANSWER, errors=(400, 413, 503))
    async def post(self, request: Request) -> HttpResponse:
        """Reads and loads the code in a process of its own; nothing is stored. Code with errors is an answer, too."""
        body = self.body()
        code, failure = await in_database(self._code, body)
        told = await check(engine.runner, code, failure)
        if body.get("name"):
            told["findings"] = [one for one in told["findings"] if one["code"] != "missing-title"]
        return json_response(told)

    def _code(self, body: Json) -> tuple[Code, str]:
        """Returns the code to check, and why its packages could not be had when that was last tried."""
        if body.get("content") is None:
            raise RequestError(
                "Missing required parameter: 'content'.", param="content", code="missing_required_parameter"
            )
        check_types(body, str, "content", "id", "name")
        check_types(body, dict, "policy")
        param = "content"
        try:
            version = FunctionVersion(number=0, source=body["content"])
            version.seal()
            param = "name"
            clean_name(body.get("name") or "")
            param = "id"
            version.function = self._function(clean_id(body.get("id") or NAMELESS), is_known=bool(body.get("id")))
        except ValidationError as error:
            raise invalid(error, param) from None
        version.function.policy = {**version.function.policy, **self._policy(body.get("policy"))}
        failure = look_up(version)
        return code_of(version, "check"), failure

    @staticmethod
    def _function(function_id: str, *, is_known: bool) -> Function:
        stored = Function.objects.filter(pk=function_id).first() if is_known else None
        return stored or Function(id=function_id)

    def _policy(self, partial: Json | None) -> Json:
        """Returns what holds instead of the function's own policy. Loading happens under it, so it is not for all."""
        if not partial:
            return {}
        if not self.person.can(SET_POLICY):
            raise PermissionDenied(
                f"Checking under another policy than the function's own needs the permission '{SET_POLICY}'."
            )
        try:
            return Policy.clean(partial)
        except ValidationError as error:
            raise invalid_policy(error) from None
