"""Valves: what administrators and users set for a function, what can be set, and the rules on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import HttpResponse
from rest_framework.request import Request

from functions_app import configuration
from functions_app.fields import UndecryptableValves
from functions_app.models import Function, User, UserValves, Valves
from functions_app.roles import AUTHOR, CONFIGURE, USE, VIEW
from functions_app.runtime import InvalidValves, LoadError, Scope
from functions_app.valves import without_secrets
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import FunctionNotFound, function_or_404, not_found, user_of
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import valves as shapes
from pipeline_app.database import in_database
from pipeline_app.errors import FunctionUnavailable, RequestError
from pipeline_app.snapshot import Person

Json = dict[str, Any]
T = TypeVar("T")


class ValvesView(AsyncAPIView):
    """``GET .../id/{id}/valves``: what an administrator set.

    Not for everybody who may see functions: what is set here, addresses for instance, is in no code.
    """

    scope = "functions"
    permissions = {"GET": (CONFIGURE,)}

    @describe("Read valves", answer=shapes.VALVES, errors=(404, 503))
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns what is set, not the defaults of the code. Secrets are masked."""
        return json_response(await in_database(self._read, function_id))

    @staticmethod
    def _read(function_id: str) -> Json:
        function = function_or_404(function_id)
        return _shown(function, "valves", Valves.objects.filter(function=function).first())


class ValvesSpecView(AsyncAPIView):
    """``GET .../id/{id}/valves/spec``: what can be set."""

    scope = "functions"
    permissions = {"GET": (VIEW, AUTHOR, CONFIGURE)}

    @describe("Read the spec of valves", answer=shapes.SPEC, errors=(404,))
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns the JSON schema of the valves, null when the live version has none."""
        return json_response(await in_database(self._read, function_id))

    def _read(self, function_id: str) -> Json | None:
        return _spec(function_or_404(function_id), "valves", self.person)


class ValvesUpdateView(AsyncAPIView):
    """``POST .../id/{id}/valves/update``: sets the valves."""

    scope = "functions"
    permissions = {"POST": (CONFIGURE,)}

    @describe("Set valves", body=shapes.VALVES_CHANGE, answer=shapes.VALVES, errors=(400, 404, 409, 503))
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Replaces what is set; secrets that are absent, empty or masked stay. Returns what is set now, masked."""
        return json_response(await in_database(self._set, function_id, self.body()))

    def _set(self, function_id: str, given: Json) -> Json:
        function = function_or_404(function_id)
        row = _attempt(function, lambda: Valves.objects.set_values(function, given, user_of(self.person)))
        return _shown(function, "valves", row)


class UserValvesView(AsyncAPIView):
    """``GET .../id/{id}/valves/user``: what the caller set."""

    scope = "functions"
    permissions = {"GET": (USE,)}

    @describe("Read one's own valves", answer=shapes.VALVES, errors=(404, 503))
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns what the caller set and what an administrator fixed. Secrets are masked."""
        return json_response(await in_database(self._read, function_id))

    def _read(self, function_id: str) -> Json:
        function = _known_to(self.person, function_id)
        row = UserValves.objects.filter(function=function, user_id=self.person.id).first()
        return _shown(function, "user_valves", row)


class UserValvesSpecView(AsyncAPIView):
    """``GET .../id/{id}/valves/user/spec``: what the caller can set."""

    scope = "functions"
    permissions = {"GET": (USE,)}

    @describe("Read the spec of one's own valves", answer=shapes.SPEC, errors=(404,))
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns the JSON schema of the user valves, null when the function is not active or has none."""
        return json_response(await in_database(self._read, function_id))

    def _read(self, function_id: str) -> Json | None:
        function = _known_to(self.person, function_id)
        return _spec(function, "user_valves", self.person) if function.is_active else None


class UserValvesUpdateView(AsyncAPIView):
    """``POST .../id/{id}/valves/user/update``: sets the caller's own."""

    scope = "functions"
    permissions = {"POST": (USE,)}

    @describe("Set one's own valves", body=shapes.VALVES_CHANGE, answer=shapes.VALVES, errors=(400, 404, 409, 503))
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Replaces what the caller set; secrets that are absent, empty or masked stay."""
        return json_response(await in_database(self._set, function_id, self.body()))

    def _set(self, function_id: str, given: Json) -> Json:
        function = _known_to(self.person, function_id)
        if not function.is_active:
            raise RequestError(
                f"Function '{function.id}' is not active, so nobody can set valves of their own for it.",
                param="id",
                code="function_not_active",
            )
        user = user_of(self.person)
        if user is None:
            raise FunctionNotFound("The user of this key is gone.", code="user_not_found")
        row = _attempt(function, lambda: UserValves.objects.set_values(function, user, given))
        return _shown(function, "user_valves", row)


class RulesView(AsyncAPIView):
    """``GET`` and ``POST .../id/{id}/valves/rules``: how an administrator narrows what can be set."""

    scope = "functions"
    permissions = {"GET": (CONFIGURE,), "POST": (CONFIGURE,)}

    SCOPES = ("valves", "user_valves")

    @describe("Read the rules on valves", answer=shapes.RULES, errors=(404,))
    async def get(self, request: Request, function_id: str) -> HttpResponse:
        """Returns the rules on the valves and on those of users, by field."""
        return json_response(await in_database(self._read, function_id))

    @describe("Set the rules on valves", body=shapes.RULES_CHANGE, answer=shapes.RULES, errors=(400, 404, 409, 503))
    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Replaces the rules of the scopes that are named."""
        given = self.body()
        for name, rules in given.items():
            if name not in self.SCOPES:
                message = f"There is no field '{name[:80]}'; there are {' and '.join(self.SCOPES)}."
                raise RequestError(message, param=name, code="unknown_parameter")
            if not isinstance(rules, dict):
                raise RequestError(f"'{name}' must be an object.", param=name, code="invalid_type")
        return json_response(await in_database(self._set, function_id, given))

    @staticmethod
    def _read(function_id: str) -> Json:
        return _rules(Valves.objects.filter(function=function_or_404(function_id)).first())

    def _set(self, function_id: str, given: Json) -> Json:
        function = function_or_404(function_id)
        return _rules(_attempt(function, lambda: Valves.objects.set_rules(function, given, user_of(self.person))))


def _rules(row: Valves | None) -> Json:
    return {"valves": row.rules if row else {}, "user_valves": row.user_rules if row else {}}


def _rules_on(function: Function, scope: Scope) -> Json:
    found: Json = _rules(Valves.objects.filter(function=function).first())[scope]
    return found


def _known_to(person: Person, function_id: str) -> Function:
    """Returns a function that a person may know of."""
    function = function_or_404(function_id)
    if function.is_active and function.live is not None:
        return function
    if person.can(VIEW) or person.can(AUTHOR) or str(function.owner_id) == person.id:
        return function
    raise not_found(function_id)


def _shown(function: Function, scope: Scope, row: Valves | UserValves | None) -> Json:
    """Returns what is set, for eyes."""
    manifest = (function.live.manifest if function.live else None) or {}
    rules = _rules_on(function, scope)
    try:
        values = row.values if row is not None else {}
    except UndecryptableValves as error:
        raise FunctionUnavailable(function.id, "load", str(error)) from None
    return configuration.in_force(manifest.get(scope), values, rules)


def _spec(function: Function, scope: Scope, person: Person) -> Json | None:
    if function.live is None:
        return None
    function.live.function = function
    user = User.objects.filter(pk=person.id).first()
    schema, _ = configuration.schema_for(function.live, scope, user, _rules_on(function, scope))
    if schema is None:
        return None
    # Who may read the code may see what it says.
    found: Json = schema if person.can(VIEW) or person.can(AUTHOR) else without_secrets(schema)
    return found


def _attempt(function: Function, change: Callable[[], T]) -> T:
    """Returns what a change returns; what it refuses becomes the request's error."""
    try:
        return change()
    except InvalidValves as error:
        places = [".".join(map(str, found["loc"])) for found in error.errors]
        refusal = RequestError(str(error), param=places[0] if places and places[0] else None, code="invalid_valves")
        refusal.extra = {"errors": [{"loc": found["loc"], "msg": found["msg"]} for found in error.errors]}
        raise refusal from None
    except ValidationError as error:
        code = getattr(error, "code", None) or "invalid_value"
        raise RequestError(" ".join(error.messages), code=code, status=409 if code == "not_live" else 400) from None
    except (LoadError, UndecryptableValves) as error:
        raise FunctionUnavailable(function.id, "load", str(error)) from None
    except ObjectDoesNotExist:
        raise not_found(function.id) from None
