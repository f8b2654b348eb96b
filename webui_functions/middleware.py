"""What every answer carries: a request id and security headers. Async-capable, so that the API may use it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from functions_app.acting import ADMIN, OAUTH, acting_as
from webui_functions.observability import request_id

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class _Middleware:
    """The two ways of a Django middleware, with ``before`` and ``after`` around the view."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._async:
            return self.__acall__(request)
        self.before(request)
        response: HttpResponseBase = self.get_response(request)
        self.after(request, response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.before(request)
        response: HttpResponseBase = await self.get_response(request)
        self.after(request, response)
        return response

    def before(self, request: HttpRequest) -> None:
        """Is told of each request."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Is told of each answer, before it is sent."""


class RequestIDMiddleware(_Middleware):
    """``X-Request-ID``: the client's own when it is a plain word, else a new one; it is in every log line too."""

    def before(self, request: HttpRequest) -> None:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        name = given if _SANE(given) else uuid.uuid4().hex
        request.id = name  # type: ignore[attr-defined]
        request_id.set(name)

    def after(self, request: HttpRequest, response: HttpResponseBase) -> None:
        response.headers["X-Request-ID"] = request.id  # type: ignore[attr-defined]


def _policy() -> str:
    return "; ".join(f"{name} {' '.join(values)}" for name, values in settings.SECURE_CSP.items())


class SecurityHeadersMiddleware(_Middleware):
    """``Content-Security-Policy``, ``X-Content-Type-Options`` and ``Referrer-Policy`` on every answer that has none."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        self._headers = {
            "Content-Security-Policy": _policy(),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        }

    def after(self, request: HttpRequest, response: HttpResponseBase) -> None:
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)


class ActingMiddleware:
    """Whoever is logged in is the actor of what the request changes (``functions_app.acting``)."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.__acall__(request)
        with self._acting(request):
            return self.get_response(request)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        with self._acting(request):
            response: HttpResponseBase = await self.get_response(request)
            return response

    @staticmethod
    def _acting(request: HttpRequest) -> AbstractContextManager[None]:
        source = OAUTH if request.path_info.startswith("/account/") else ADMIN
        return acting_as(SimpleLazyObject(lambda: request.user), source)
