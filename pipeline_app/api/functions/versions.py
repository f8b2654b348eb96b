"""The history of a function: its versions, what differs between two, and letting an older one serve again."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app import difference, wire
from functions_app.models import Function, FunctionVersion
from functions_app.roles import ACTIVATE, AUTHOR, VIEW
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import FunctionNotFound, function_or_404, told_environment, told_error
from pipeline_app.api.functions.editing import published
from pipeline_app.api.functions.form import Form
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError

Json = dict[str, Any]

PAGE = 20
LAST_PAGE = 1_000_000


def version_or_404(function: Function, version_id: str, param: str = "history_id") -> FunctionVersion:
    """Returns a version of a function by its id. To be called where the database may be used."""
    try:
        pk = uuid.UUID(version_id)
    except ValueError:
        found = None
    else:
        found = function.versions.select_related("author", "function").filter(pk=pk).first()
    if found is None:
        raise FunctionNotFound(
            f"Function '{function.id}' has no version '{version_id}'.", param=param, code="version_not_found"
        )
    return found


class HistoryView(AsyncAPIView):
    """``GET .../id/{id}/history``: versions without their sources, twenty a page, the newest first."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR)}

    @describe(
        "List versions",
        answer=shapes.ENTRIES,
        query={"page": {"type": "integer", "minimum": 1, "default": 1}},
        errors=(400, 404),
    )
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Lists the versions, the newest first; a page beyond the last is empty."""
        text = request.query_params.get("page", "1")
        page = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
        if not 1 <= page <= LAST_PAGE:
            raise RequestError("'page' must be a whole number from 1.", param="page", code="invalid_value")
        return json_response(await in_database(self._page, function_id, page))

    @staticmethod
    def _page(function_id: str, page: int) -> list[Json]:
        start = (page - 1) * PAGE
        rows = function_or_404(function_id).versions.select_related("author").defer("source", "manifest")
        # One more than the page has: the parent of its last.
        found = list(rows.order_by("-number")[start : start + PAGE + 1])
        return [wire.entry(row, parent) for row, parent in zip(found, [*found[1:], None], strict=False)][:PAGE]


class HistoryEntryView(AsyncAPIView):
    """``GET`` and ``DELETE .../id/{id}/history/{history_id}``: one version with its source."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR), "DELETE": (AUTHOR,)}

    @describe("Read a version", answer=shapes.ENTRY_WITH_SNAPSHOT, errors=(404,))
    async def get(self, request: Request, function_id: str, history_id: str) -> HttpResponse:
        """Returns a version with its source and, where it does not load, the reason."""
        return json_response(await in_database(self._one, function_id, history_id))

    @staticmethod
    def _one(function_id: str, history_id: str) -> Json:
        version = version_or_404(function_or_404(function_id), history_id)
        parent = version.function.versions.filter(number__lt=version.number).order_by("-number").first()
        told = wire.entry(version, parent)
        return {
            **told,
            "snapshot": wire.snapshot(version),
            "error": told_error(version.error),
            "environment": told_environment(version.environment),
        }

    @describe("Delete a version", answer=shapes.DONE, errors=(404, 409))
    async def delete(self, request: Request, function_id: str, history_id: str) -> HttpResponse:
        """Deletes a version that does not serve."""
        await in_database(self._delete, function_id, history_id)
        return json_response(True)

    @staticmethod
    def _delete(function_id: str, history_id: str) -> None:
        with transaction.atomic():
            found = function_or_404(function_id)
            function = Function.objects.select_for_update(of=("self",)).filter(pk=found.pk).first() or found
            version = version_or_404(function, history_id)
            if function.live_id == version.pk:
                raise RequestError(
                    f"Version {version.number} is live, so it can't be deleted; publish another one first.",
                    param="history_id",
                    code="version_is_live",
                    status=409,
                )
            version.delete()


class DiffView(AsyncAPIView):
    """``GET .../id/{id}/history/diff?from_id=...&to_id=...``: what differs between two versions."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR)}

    @describe(
        "Compare two versions",
        answer=shapes.DIFF,
        query={"from_id": {"type": "string", "format": "uuid"}, "to_id": {"type": "string", "format": "uuid"}},
        errors=(400, 404),
    )
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns what leads from one version to another as a unified diff; both ids are needed."""
        ids = {name: request.query_params.get(name, "") for name in ("from_id", "to_id")}
        for name, value in ids.items():
            if not value:
                raise RequestError(
                    f"Missing required parameter: '{name}', the id of a version.",
                    param=name,
                    code="missing_required_parameter",
                )
        return json_response(await in_database(self._diff, function_id, ids["from_id"], ids["to_id"]))

    @staticmethod
    def _diff(function_id: str, from_id: str, to_id: str) -> Json:
        function = function_or_404(function_id)
        before, after = version_or_404(function, from_id, "from_id"), version_or_404(function, to_id, "to_id")
        return {
            "from_id": str(before.pk),
            "to_id": str(after.pk),
            "metadata": wire.metadata_difference(before, after),
            "content_diff": difference.unified(before.source, after.source),
            "line_endings_only": difference.only_line_ends(before.source, after.source),
        }


class SetVersionView(AsyncAPIView):
    """``POST .../id/{id}/update/version``: lets an older version serve again, or a draft for the first time."""

    scope = "functions"
    permissions = {"POST": (ACTIVATE,)}

    @describe(
        "Publish a version",
        body=shapes.SET_VERSION,
        answer=shapes.MODEL,
        also={202: shapes.MODEL},
        errors=(400, 404, 409, 503),
    )
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Checks a version that is there as an update is checked, and lets it serve, under the name it served under."""
        body = self.body()
        form = Form.read({"version_id": body.get("version_id")}, needs=("version_id",))
        version, facts = await in_database(self._version, function_id, form.version_id or "")
        return await published(self.person, version, **facts)

    @staticmethod
    def _version(function_id: str, version_id: str) -> tuple[FunctionVersion, Json]:
        version = version_or_404(function_or_404(function_id), version_id, "version_id")
        served = version.facts is not None and version.state != version.State.LIVE
        return version, wire.facts(version) if served else {}
