"""What all API views share: async DRF views, one error shape, JSON answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from functions_app.acting import API, acting_as
from pipeline_app import wire
from pipeline_app.api.auth import bearer
from pipeline_app.bodies import kind_of
from pipeline_app.context import Caller, http_of
from pipeline_app.errors import RequestError
from pipeline_app.snapshot import Person, snapshot

logger = logging.getLogger(__name__)

Json = dict[str, Any]

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 403: "insufficient_permissions", 404: "not_found", 405: "method_not_allowed"}


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """Returns an answer of JSON bytes, past DRF's renderer, which costs as much as the request itself."""
    return HttpResponse(wire.dumps(value), content_type="application/json", status=status, headers=headers)


def error_body(
    request: HttpRequest,
    status: int,
    message: str,
    *,
    type_: str | None = None,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    events: list[Json] | None = None,
    extra: Json | None = None,
) -> HttpResponse:
    """Returns OpenAI's error object with a status; under ``/api/`` Open WebUI's ``detail`` stands beside it."""
    kind = type_ or _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    body: Json = wire.error(message, kind, param=param, code=code or _CODES.get(status))
    if request.path_info.startswith("/api/"):
        body["detail"] = message
    if events:
        body["events"] = events
    body |= extra or {}
    return json_response(body, status, headers)


def failure(request: HttpRequest, error: Exception) -> HttpResponse:
    """Returns the answer to any exception. What is nobody's fault but ours is logged and told without detail."""
    headers: dict[str, str] = {}
    if isinstance(error, RequestError):
        return error_body(
            request,
            error.status,
            error.message,
            type_=error.type,
            param=error.param,
            code=error.code,
            headers=error.headers,
            events=error.events,
            extra=error.extra,
        )
    if isinstance(error, Http404):
        error = exceptions.NotFound(str(error) or None)
    elif isinstance(error, OperationalError):
        logger.error("The database does not answer", exc_info=error)
        return error_body(request, 503, "The database does not answer at the moment; try again.", code="unavailable")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    if isinstance(error, exceptions.APIException):
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
        code = None
        if isinstance(error, exceptions.Throttled):
            code = "rate_limit_exceeded"
            wait = getattr(error, "wait", None)
            if wait:
                headers["Retry-After"] = str(math.ceil(wait))
        detail = error.detail
        message = str(detail) if isinstance(detail, str) else _sentences(detail)
        return error_body(request, error.status_code, message, code=code, headers=headers)
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    name = getattr(request, "id", "")
    return error_body(request, 500, f"The server failed to answer; its log has the reason under request {name}.")


def _sentences(detail: Any) -> str:
    if isinstance(detail, dict):
        return " ".join(f"{name}: {_sentences(value)}" for name, value in detail.items())
    if isinstance(detail, list):
        return " ".join(_sentences(value) for value in detail)
    return str(detail)


def error_response(error: Exception, context: dict[str, Any]) -> HttpResponseBase:
    """DRF's ``EXCEPTION_HANDLER``: every error in the one shape."""
    request = context["request"]
    response = failure(getattr(request, "_request", request), error)
    if isinstance(error, exceptions.MethodNotAllowed):
        response.headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def oversized(request: HttpRequest) -> HttpResponse:
    """Returns the answer to a body that was refused while it was read."""
    limit = settings.FUNCTIONS_MAX_BODY
    return error_body(
        request,
        413,
        f"The request body is larger than the {limit} bytes that this server accepts (FUNCTIONS_MAX_BODY).",
        code="request_too_large",
        headers={"Connection": "close"},
    )


class AsyncAPIView(APIView):
    """A DRF view whose handlers are coroutines.

    The person behind the key is looked up first, on the event loop; authentication, permission and
    throttle classes then answer from memory. Views read ``request.body`` and return finished responses.
    """

    scope: ClassVar[str | None] = None
    """The scope that a key needs, unless it has none and may do all; empty where any key will do. To be declared."""
    permissions: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What the key's owner needs one of (constants of ``functions_app.roles``), by method; each method is to be
    declared, with an empty tuple where any person will do."""
    also_needed: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What they need all of, beside that."""
    is_open: ClassVar[bool] = False
    """Whether it answers without a key, so that neither scope nor permissions are asked for."""
    reads_body: ClassVar[bool] = False
    """Whether ``post`` reads the body by itself, from ``request.incoming``, once it is known who sends it."""

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.headers: dict[str, str] = {}
        wrapped = Request(request, authenticators=self.get_authenticators())
        self.request = wrapped
        try:
            if not self.is_open:
                key = bearer(request)
                request.person = await snapshot.person(key) if key else None  # type: ignore[attr-defined]
                self.perform_authentication(wrapped)
                self.check_permissions(wrapped)
                self.check_throttles(wrapped)
            handler = self.handler(request.method)
            if handler is None:
                raise exceptions.MethodNotAllowed(str(request.method))
            with acting_as(None if self.is_open else self.person.user, API):
                response: HttpResponseBase = await handler(wrapped, *args, **kwargs)
        except Exception as error:
            response = self.handle_exception(error)
        return response

    def handler(self, method: str | None) -> Callable[..., Any] | None:
        """Returns what answers a method; None when nothing does."""
        name = (method or "").lower()
        return getattr(self, name, None) if name in self.http_method_names else None

    async def options(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Names the methods; a browser's preflight is answered by the CORS middleware before."""
        return HttpResponse(status=204, headers={"Allow": ", ".join(self.allowed_methods)})

    @property
    def person(self) -> Person:
        found: Person = self.request.user  # type: ignore[assignment]
        return found

    def caller(self) -> Caller:
        """Returns where the request came from, as functions are told of it."""
        plain = self.request._request
        return Caller(self.person, plain.id, http_of(plain.scope))  # type: ignore[attr-defined]

    def json(self) -> Any:
        """Returns the request's JSON, whatever it is. Raises ``RequestError`` for what is none."""
        plain = self.request._request
        encoding = plain.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise RequestError(
                f"The request body is encoded as {encoding}; send it as it is, without Content-Encoding.",
                code="unsupported_encoding",
                status=415,
            )
        try:
            return wire.loads(plain.body)
        except ValueError as error:
            raise RequestError(f"The request body is not valid JSON: {error}.", code="invalid_json") from None

    def body(self) -> Json:
        """Returns the request's JSON object. Raises ``RequestError`` for anything else."""
        value = self.json()
        if not isinstance(value, dict):
            raise RequestError(f"The request body must be a JSON object, not {kind_of(value)}.", code="invalid_json")
        return value
