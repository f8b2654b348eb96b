"""Functions to write: made, changed, and deleted."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpResponse
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from functions_app import wire
from functions_app.models import Function, FunctionVersion, claims
from functions_app.models.function import VersionConflict
from functions_app.roles import ACTIVATE, AUTHOR
from functions_app.runtime import LoadError, RequirementError, ShuttingDown
from pipeline_app import publishing
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import (
    FunctionNotFound,
    about,
    answer,
    broken,
    conflict,
    function_or_404,
    invalid,
    looks_inside,
    not_found,
    not_loading,
    user_of,
    whole,
)
from pipeline_app.api.functions.form import Form
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.snapshot import Person

Json = dict[str, Any]


class CreateView(AsyncAPIView):
    """``POST /api/v1/functions/create``: save and publish. What does not load leaves nothing."""

    scope = "functions"
    permissions = {"POST": (AUTHOR,)}

    @describe(
        "Create a function",
        body=shapes.CREATE_FORM,
        answer=shapes.RESPONSE,
        also={202: shapes.RESPONSE},
        errors=(400, 409, 503),
    )
    async def post(self, request: Request) -> HttpResponse:
        """Checks the code and stores it as an inactive function whose first version is live.

        Without the permission to publish, that version is a draft. 202 when checking takes long: it goes on by
        itself, and ``state`` is ``building`` until then.
        """
        form = Form.read(self.body(), needs=("id", "content"), ignores=("version_id",))
        version = await in_database(self._first, form)
        name = f"Publishing '{version.function_id}'"
        checking = await publishing.begin(in_database(version.inspected), name)
        if not checking.done():
            return await self._later(version, checking, name)
        try:
            manifest = checking.result()
        except (LoadError, RequirementError) as error:
            raise not_loading(error, "Nothing was stored.", version) from None
        except ShuttingDown:
            raise RequestError(
                "The server stops, so nothing was stored; try again.", code="stopping", status=503
            ) from None
        return await in_database(self._keep, version, manifest, 200)

    def _first(self, form: Form) -> FunctionVersion:
        assert form.id is not None and form.content is not None
        author = user_of(self.person)
        try:
            return Function.objects.first_version(
                form.id, form.name or "", form.content, author, meta=form.meta, note=form.note
            )
        except ValidationError as error:
            raise invalid(error) from None

    async def _later(self, version: FunctionVersion, checking: Any, name: str) -> HttpResponse:
        """Stores a version whose check takes long, so that clients may look how it fares."""
        if not self.person.can(ACTIVATE):
            publishing.go_on(checking, name)
            return await in_database(self._keep, version, None, 200)
        version.wait_for_publication(claims.new_claim())
        kept = await in_database(self._keep, version, None, 202)
        publishing.go_on(checking, name, version)
        return kept

    def _keep(self, version: FunctionVersion, manifest: Json | None, status: int) -> HttpResponse:
        try:
            function = Function.objects.keep(version, manifest, live=self.person.can(ACTIVATE))
        except ValidationError as error:
            raise invalid(error) from None
        return answer(function, {**wire.response(function, version), **about(version)}, version, status)


class UpdateView(AsyncAPIView):
    """``POST .../id/{id}/update``: save a version and publish it."""

    scope = "functions"
    permissions = {"POST": (AUTHOR,)}

    @describe(
        "Update a function",
        body=shapes.UPDATE_FORM,
        answer=shapes.MODEL,
        also={202: shapes.MODEL},
        errors=(400, 404, 409, 503),
    )
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Stores the code as a new version and lets it serve when it loads; name and ``meta`` change with it.

        Code that does not load is kept as a broken version, and what was live serves on. Without the permission to
        publish, the version is a draft. A ``version_id``, or ``If-Match`` with an ``ETag`` of before, that is not
        the current one any more is answered with 409, and nothing changes.
        """
        form = Form.read(self.body(), ignores=("id",))
        began_from = _began_from(form, request.headers.get("If-Match", ""))
        version, along = await in_database(self._save, function_id, form, began_from)
        if form.content is None or version is None or not self.person.can(ACTIVATE):
            return await in_database(_shown, self.person, function_id, version)
        return await published(self.person, version, **along)

    def _save(
        self, function_id: str, form: Form, began_from: frozenset[str]
    ) -> tuple[FunctionVersion | None, dict[str, Any]]:
        function = function_or_404(function_id)
        try:
            return function.edit(
                user_of(self.person),
                source=form.content,
                name=form.name,
                meta=form.meta,
                note=form.note,
                began_from=began_from,
                publishing=self.person.can(ACTIVATE),
            )
        except VersionConflict as error:
            function.refresh_from_db()
            raise conflict(function, error) from None
        except ValidationError as error:
            raise invalid(error) from None
        except Function.DoesNotExist:
            function_or_404(function_id)  # deleted between two looks
            raise


async def published(person: Person, version: FunctionVersion, **along: Any) -> HttpResponse:
    """Publishes a version and answers with the function; 202 when that takes long, and it goes on by itself.

    Raises ``RequestError`` when the version does not load or another was published meanwhile.
    """
    try:
        live = await publishing.published(version, **along)
    except publishing.VersionDeleted as error:
        raise FunctionNotFound(str(error), code="version_not_found") from None
    if live is None:
        return await in_database(_building, person, version)
    if live:
        return await in_database(_shown, person, version.function_id, version)
    raise await in_database(_unpublished, person, version)


def _began_from(form: Form, header: str) -> frozenset[str]:
    """Returns the versions of which one has to be current for an update to be made; none means any."""
    tags = frozenset(re.findall(r'"([^"]*)"', header)) or frozenset(filter(None, [header.strip()]))
    if form.version_id is None:
        return frozenset() if "*" in tags else tags
    if tags and "*" not in tags and form.version_id not in {tag.partition(".")[0] for tag in tags}:
        raise RequestError(
            "'version_id' and the header If-Match name different versions; send one of them.",
            param="version_id",
            code="invalid_value",
        )
    return tags - {"*"} or frozenset({form.version_id})


def _shown(person: Person, function_id: str, version: FunctionVersion | None) -> HttpResponse:
    function = function_or_404(function_id)
    if version is not None and (version := function.versions.filter(pk=version.pk).first()) is None:
        raise FunctionNotFound("The version was deleted meanwhile.", code="version_not_found")
    return answer(function, whole(person, function, version), version)


def _building(person: Person, version: FunctionVersion) -> HttpResponse:
    function = function_or_404(version.function_id)
    told = {**whole(person, function, version), "state": FunctionVersion.State.BUILDING}
    return answer(function, told, version, 202)


def _unpublished(person: Person, version: FunctionVersion) -> RequestError:
    """Returns why a version that was to serve does not."""
    live = function_or_404(version.function_id).live
    error: Json = version.error or {}
    if version.state != FunctionVersion.State.BROKEN:
        return RequestError(str(error.get("message")), code="superseded", status=409)
    serves = f"version {live.number} goes on serving" if live is not None else "nothing serves yet"
    refusal = broken(error, f"Version {version.number} was kept as broken; {serves}.", with_lines=looks_inside(person))
    refusal.extra["version"] = {"version_id": str(version.pk), **about(version)}
    return refusal


class DeleteView(AsyncAPIView):
    """``DELETE .../id/{id}/delete``: a function with its versions, valves and settings of users."""

    scope = "functions"
    permissions = {"DELETE": (AUTHOR,)}

    @describe("Delete a function", answer=shapes.DONE, errors=(404,))
    async def delete(self, request: Request, function_id: str) -> HttpResponse:
        """Deletes a function with all that belongs to it; one that is active only for who may publish, too."""
        await in_database(self._delete, function_id)
        return json_response(True)

    def _delete(self, function_id: str) -> None:
        with transaction.atomic():
            try:
                function = function_or_404(function_id).lock()
            except Function.DoesNotExist:
                raise not_found(function_id) from None
            if function.is_active and not self.person.can(ACTIVATE):
                raise PermissionDenied(
                    f"Function '{function_id}' is active: deleting it needs the permission '{ACTIVATE}', too. "
                    "Ask somebody who has it to switch it off."
                )
            function.delete()
