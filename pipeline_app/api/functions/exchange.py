"""Functions in and out as a whole: export, import and sync, in the shapes of Open WebUI's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.http import HttpResponse
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from functions_app import roles
from functions_app.exchange import export
from functions_app.exchange.entries import Read, read
from functions_app.exchange.plan import Plan, Taking, Terms
from functions_app.exchange.run import Conflict, NotAllowed, Refused, carry_out
from functions_app.fields import UndecryptableValves
from functions_app.models import Function, User
from functions_app.runtime import ShuttingDown
from pipeline_app import publishing
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import exchange as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.snapshot import Person

Json = dict[str, Any]
T = TypeVar("T")

MOST_SENTENCES = 50
TRUTHS = {"true": True, "1": True, "false": False, "0": False}
OPTIONS = {"overwrite": False, "partial": False, "flags": False, "policy": False, "valves": True, "dry_run": False}
"""What an import may be told, with what holds otherwise."""


class ExportView(AsyncAPIView):
    """``GET /api/v1/functions/export``: all functions with their sources, as one array."""

    scope = "functions"
    permissions = {"GET": (roles.VIEW, roles.AUTHOR)}

    @describe("Export all functions", answer=shapes.EXPORT, query=shapes.EXPORT_QUERY, errors=(400, 503))
    async def get(self, request: Request) -> HttpResponse:
        """Returns an entry for each function; with ``include_valves`` also the values that are set, except secrets."""
        valves = truth(request.query_params, "include_valves", False)
        if valves:
            require(self.person, roles.CONFIGURE)
        return json_response(await in_database(self._all, valves))

    @staticmethod
    def _all(valves: bool) -> list[Json]:
        try:
            return export.entries(Function.objects.order_by("pk"), valves=valves)
        except UndecryptableValves as error:
            raise RequestError(str(error), param="include_valves", code="undecryptable_valves", status=503) from None


class ImportView(AsyncAPIView):
    """``POST /api/v1/functions/import``: makes functions of an export, all of them or none."""

    scope = "functions"
    permissions = {"POST": (roles.AUTHOR,)}

    @describe(
        "Import functions",
        body=shapes.IMPORT,
        answer=shapes.IMPORTED,
        also={202: shapes.GOES_ON},
        query=shapes.IMPORT_QUERY,
        errors=(400, 409, 413, 503),
    )
    async def post(self, request: Request) -> HttpResponse:
        """Tries every entry, then writes all of them in one transaction; functions that exist are left alone.

        202 when packages take long to install: it goes on by itself, and the same request tells later how it went.
        """
        data = self.json()
        wrapped = isinstance(data, dict) and isinstance(data.get("functions"), list)
        given: Mapping[str, Any] = data if wrapped else {}
        options = {
            name: truth(given if name in given else request.query_params, name, default)
            for name, default in OPTIONS.items()
        }
        entries = data["functions"] if wrapped else data
        found = await in_database(
            read, entries, valves=options["valves"], flags=options["flags"], policy=options["policy"]
        )
        plan = await in_a_moment("An import", self._import, self.person, found, options)
        return json_response(shapes.GOES_ON_ANSWER, 202) if plan is None else json_response(shapes.told(plan))

    @staticmethod
    def _import(person: Person, found: Read, options: Mapping[str, bool]) -> Plan:
        terms = Terms(
            overwrite=options["overwrite"],
            serve=person.can(roles.ACTIVATE),
            valves=Taking.ALL if options["valves"] else Taking.NONE,
        )
        return done(person, found, terms, partial=options["partial"], only_plan=options["dry_run"])


class SyncView(AsyncAPIView):
    """``POST /api/v1/functions/sync``: makes the functions here those of the body, and deletes all others."""

    scope = "functions"
    permissions = {"POST": (roles.AUTHOR,)}
    also_needed = {"POST": (roles.ACTIVATE, roles.CONFIGURE)}

    @describe(
        "Replace all functions",
        body=shapes.SYNC,
        answer=shapes.SYNCED,
        also={202: shapes.GOES_ON},
        errors=(400, 409, 413, 503),
    )
    async def post(self, request: Request) -> HttpResponse:
        """Tries every entry, then makes what is stored like the body, in one transaction. Returns all functions."""
        body = self.body()
        entries, policy = body.get("functions"), truth(body, "policy", False)
        if not isinstance(entries, list):
            raise RequestError("functions must be an array of all functions there shall be.", param="functions")
        rows = await in_a_moment("A sync", self._sync, self.person, entries, policy)
        return json_response(shapes.GOES_ON_ANSWER, 202) if rows is None else json_response(rows)

    @staticmethod
    def _sync(person: Person, entries: list[Any], policy: bool) -> list[Json]:
        done(person, read(entries, policy=policy), Terms(overwrite=True, delete=True))
        return export.entries(Function.objects.order_by("pk"), valves=True, tolerant=True)


async def in_a_moment(name: str, work: Callable[..., T], *given: Any) -> T | None:
    """Returns what comes of an import, None when that takes long; it goes on by itself then, all of it or nothing."""
    task = await publishing.begin(in_database(work, *given), name)
    if not task.done():
        publishing.go_on(task, name)
        return None
    try:
        return task.result()
    except ShuttingDown:
        message = "The server stops, so nothing was changed; try again."
        raise RequestError(message, code="stopping", status=503) from None


def done(person: Person, found: Read, terms: Terms, *, partial: bool = False, only_plan: bool = False) -> Plan:
    """Carries out what was read in a person's name. Raises ``RequestError`` and ``PermissionDenied``."""
    by = User.objects.filter(pk=person.id).first()
    try:
        return carry_out(found, terms, by, may=person.can, partial=partial, only_plan=only_plan)
    except Refused as error:
        problems = error.plan.problems
        more = [f"And {len(problems) - MOST_SENTENCES} more."] if len(problems) > MOST_SENTENCES else []
        sentences = [f"{problem.rstrip('.')}." for problem in problems[:MOST_SENTENCES]]
        refusal = RequestError(" ".join(["Nothing was changed.", *sentences, *more]), code="import_refused")
        refusal.extra = {"problems": sentences}
        raise refusal from None
    except Conflict as error:
        raise RequestError(str(error), code="conflict", status=409) from None
    except NotAllowed as error:
        raise PermissionDenied(str(error)) from None


def require(person: Person, *permissions: str) -> None:
    """Raises ``PermissionDenied`` unless a person holds all of these permissions."""
    for permission in permissions:
        if not person.can(permission):
            raise PermissionDenied(roles.needed([permission]))


def truth(given: Mapping[str, Any], name: str, default: bool) -> bool:
    """Returns a boolean of a body or of query parameters. Raises ``RequestError`` for anything else."""
    value = given.get(name)
    if value is None:
        return default
    value = TRUTHS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false.", param=name)
    return value
