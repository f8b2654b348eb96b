"""Who calls, and whether their key opens this door: told from memory, ``request.person`` was looked up before."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from functions_app import roles
from pipeline_app.runs import log
from pipeline_app.snapshot import Person


def bearer(request: HttpRequest) -> str | None:
    """Returns the key that a request carries, in ``Authorization: Bearer`` or ``x-api-key``; None when it has none."""
    scheme, _, key = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        found: str = key.strip()
        return found
    return request.META.get("HTTP_X_API_KEY") or None


class KeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer sk-...``."""

    def authenticate(self, request: Request) -> tuple[Person, Any] | None:
        plain = request._request
        person: Person | None = plain.person  # type: ignore[attr-defined]
        if person is None:
            if bearer(plain) is None:
                return None
            raise exceptions.AuthenticationFailed(
                "Incorrect API key provided, or it was revoked. Ask an administrator for a new one."
            )
        if person.expired:
            raise exceptions.AuthenticationFailed("This API key has expired. Ask an administrator for a new one.")
        if person.key_id is not None:
            log.used(person.key_id)
        return person, person.key_id

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="webui-functions"'


class HasScope(BasePermission):
    """A key, with the scope that the view names (or with none, which means all), of somebody who may.

    What a view does not declare is refused to everybody, admins too: a door is never open by oversight.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        person: object = request.user
        if not isinstance(person, Person):
            raise exceptions.NotAuthenticated(
                "You didn't provide an API key. Send it as 'Authorization: Bearer sk-...'."
            )
        if view.scope is None:
            raise ImproperlyConfigured(f"{type(view).__name__} declares no scope.")
        if view.scope and not person.may(view.scope):
            raise exceptions.PermissionDenied(
                f"This API key lacks the scope '{view.scope}'; it has {', '.join(sorted(person.scopes))}."
            )
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS" or view.handler(method) is None:
            return True  # tells the methods, or that this is none of them
        if method not in view.permissions:
            raise ImproperlyConfigured(f"{type(view).__name__} does not declare who may {method}.")
        needed: tuple[str, ...] = view.permissions[method]
        if needed and not any(person.can(permission) for permission in needed):
            raise exceptions.PermissionDenied(roles.needed(needed))
        for permission in view.also_needed.get(method, ()):
            if not person.can(permission):
                raise exceptions.PermissionDenied(roles.needed([permission]))
        return True
