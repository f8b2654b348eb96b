"""How a host call is declared: the grant and the scope it takes, its parameters with their tests, and who answers.

Parameters come from author code, perhaps through native code: every one is checked before anybody answers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from pipeline_app.completions import Completions
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.runners.base import Identity
from pipeline_app.snapshot import Person

Json = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

PAGE = 100
MOST_JSON = 256 * 1024

_REQUIRED = object()

Gate = Callable[[], AbstractAsyncContextManager[None]]
"""Lets in to the database: few of one function, not many in all, so that none can take all connections."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks: the person behind the call, the function with its policy, and the way to the database."""

    person: Person
    identity: Identity
    gate: Gate
    completions: Completions | None = None
    """The models that can be asked."""

    async def database(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``work`` where the ORM may be used, when it is this function's turn."""
        async with self.gate():
            return await in_database(work, *args, **kwargs)

    def needs_grant(self, grant: str, what: str) -> None:
        """Raises ``RequestError`` when the function's policy does not have a grant."""
        if grant not in self.identity.policy.grants:
            raise RequestError(f"This function may not {what}: its policy does not have the grant '{grant}'.")

    def needs(self, permission: str, what: str) -> None:
        """Raises ``RequestError`` when the person does not hold one of Django's permissions."""
        if not self.person.can(permission):
            raise RequestError(f"The caller may not {what}: this needs the permission '{permission}'.")

    def needs_scope(self, scope: str, what: str) -> None:
        """Raises ``RequestError`` when the person's key was not made for this."""
        if not self.person.may(scope):
            raise RequestError(f"{what} is refused: the caller's key does not have the scope '{scope}'.")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it must be, as a test and in words, and what it is when it is left out."""

    words: str
    fits: Callable[[Any], bool]
    default: Any = _REQUIRED


def text(most: int = 255, default: Any = _REQUIRED) -> Parameter:
    """Returns a parameter that is text."""
    words = f"text of at most {most} characters"
    return Parameter(words, lambda value: type(value) is str and len(value) <= most, default)


def flag(default: bool) -> Parameter:
    """Returns a parameter that is true or false."""
    return Parameter("true or false", lambda value: type(value) is bool, default)


def whole(least: int, most: int, default: Any) -> Parameter:
    """Returns a parameter that is a whole number."""
    words = f"a whole number from {least} to {most}"
    return Parameter(words, lambda value: type(value) is int and least <= value <= most, default)


def facts(most: int = MOST_JSON, default: Any = _REQUIRED) -> Parameter:
    """Returns a parameter that is an object in JSON types."""

    def fits(value: Any) -> bool:
        return type(value) is dict and len(json.dumps(value)) <= most

    return Parameter(f"an object of at most {most} characters as JSON", fits, default)


@dataclass(frozen=True, slots=True)
class HostCall:
    """One thing that can be asked: the grant it takes, the scope the caller's key must have, and who answers."""

    grant: str
    scope: str | None
    parameters: Mapping[str, Parameter]
    answer: Callable[..., Awaitable[Any] | AsyncIterator[Any]]


def checked(method: str, parameters: Mapping[str, Parameter], params: Any) -> Json:
    """Returns the parameters of a host call, all filled in. Raises ``RequestError``."""
    if type(params) is not dict:
        raise RequestError(f"The parameters of {method} are an object.")
    unknown = next((name for name in params if name not in parameters), None)
    if unknown is not None:
        known = ", ".join(parameters) or "none"
        raise RequestError(f"{method} has no parameter {str(unknown)[:100]!r}; its parameters are: {known}.")
    given: Json = {}
    for name, parameter in parameters.items():
        value = params.get(name, parameter.default)
        if value is _REQUIRED:
            raise RequestError(f"{method} needs the parameter '{name}': {parameter.words}.")
        if name in params and not parameter.fits(value):
            raise RequestError(f"'{name}' of {method} must be {parameter.words}.")
        given[name] = value
    return given


def uuid_of(text: str) -> uuid.UUID | None:
    """Returns the key that an id is; None for what is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


SKIP, LIMIT = whole(0, 10**9, 0), whole(1, PAGE, PAGE)
