"""What a function may ask of the server while it runs, beyond events: users, models and files.

A call is answered within the rights of the person behind the request and within the grants of the function's
policy, whichever is less. Parameters come from author code, perhaps through native code: every one is checked here.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from functions_app.models import File, User
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.models import Scope
from pipeline_app.runners.base import Identity
from pipeline_app.snapshot import Person, Preset, snapshot

Json = dict[str, Any]

FUNCTION_AT_ONCE = 4
"""How many answers of one function may be looked up in the database at the same time."""
AT_ONCE = 16
PART = 96 * 1024
"""Bytes of a file in one piece of a stream; base64 makes 128 KB of it, so that several fit into a window."""
LONGEST_READ = 1024 * 1024
PAGE = 100

PUBLIC_FIELDS = ("id", "username", "role", "name", "profile_image_url", "last_active_at", "updated_at", "created_at")
"""What anybody may know of somebody else."""

_REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it must be, as a test and in words, and what it is when it is left out."""

    words: str
    fits: Callable[[Any], bool]
    default: Any = _REQUIRED


def _text(most: int = 255) -> Parameter:
    return Parameter(f"text of at most {most} characters", lambda value: type(value) is str and len(value) <= most)


def _whole(least: int, most: int, default: Any) -> Parameter:
    words = f"a whole number from {least} to {most}"
    return Parameter(words, lambda value: type(value) is int and least <= value <= most, default)


@dataclass(frozen=True, slots=True)
class HostCall:
    """One thing that can be asked: the grant it takes, the scope the caller's key must have, and who answers."""

    grant: str
    scope: str | None
    parameters: Mapping[str, Parameter]
    answer: Callable[..., Awaitable[Any] | AsyncIterator[Any]]


class HostCalls:
    """Answers host calls (``runners.requests``)."""

    def __init__(self) -> None:
        self._gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Gates] = weakref.WeakKeyDictionary()

    async def call(self, identity: Identity, method: Any, params: Any) -> Any:
        """Returns JSON data, or an async iterator of it. Raises ``RequestError`` with a sentence for the author."""
        found = METHODS.get(method) if isinstance(method, str) else None
        if found is None:
            raise RequestError(f"There is no host call {str(method)[:100]!r}; there are {', '.join(METHODS)}.")
        if found.grant not in identity.policy.grants:
            raise RequestError(
                f"This function may not ask for {method}: its policy does not have the grant '{found.grant}'."
            )
        person = identity.caller
        if not isinstance(person, Person):
            raise RequestError(f"Nobody is behind this call of the function, so {method} has nobody's rights.")
        if found.scope is not None and not person.may(found.scope):
            raise RequestError(f"{method} is refused: the caller's key does not have the scope '{found.scope}'.")
        given = _checked(method, found.parameters, params)
        gate = self._gate(identity.function_id)
        answer = found.answer(person, gate, **given)
        return answer if isinstance(answer, AsyncIterator) else await answer

    def _gate(self, function_id: str) -> Gate:
        loop = asyncio.get_running_loop()
        if loop not in self._gates:
            self._gates[loop] = _Gates()
        return self._gates[loop].of(function_id)


def _checked(method: str, parameters: Mapping[str, Parameter], params: Any) -> Json:
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


Gate = Callable[[], AbstractAsyncContextManager[None]]
"""Lets in to the database: few of one function, not many in all, so that none can take all connections."""


class _Gates:
    def __init__(self) -> None:
        self._all = asyncio.Semaphore(AT_ONCE)
        self._own: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()

    def of(self, function_id: str) -> Gate:
        own = self._own.get(function_id)
        if own is None:
            own = self._own[function_id] = asyncio.Semaphore(FUNCTION_AT_ONCE)

        @asynccontextmanager
        async def gate() -> AsyncIterator[None]:
            async with AsyncExitStack() as entered:
                await entered.enter_async_context(own)
                await entered.enter_async_context(self._all)
                yield

        return gate


# --- Users ---------------------------------------------------------------------------------------------


async def _user(person: Person, gate: Gate, id: str) -> Json | None:
    """Returns a user as Open WebUI's ``UserModel`` has it; None when there is none."""
    if id == person.id:
        return person.user
    key = _uuid(id)
    if key is None:
        return None
    async with gate():
        found = await in_database(User.objects.filter(pk=key).first)
    return None if found is None else _shown(found, person)


async def _users(person: Person, gate: Gate, skip: int, limit: int) -> Json:
    """Returns ``{"users": [...], "total"}`` for those who may view users; anybody else sees themselves."""
    if not person.can("functions_app.view_user"):
        return {"users": [person.user][skip : skip + limit], "total": 1}

    def read() -> Json:
        rows = User.objects.order_by("date_joined", "pk")
        return {"users": [_shown(row, person) for row in rows[skip : skip + limit]], "total": rows.count()}

    async with gate():
        return await in_database(read)


def _shown(user: User, to: Person) -> Json:
    wire: Json = user.to_wire()
    if to.can("functions_app.view_user"):
        return wire
    return {**dict.fromkeys(wire), "email": "", **{name: wire[name] for name in PUBLIC_FIELDS}}


# --- Models --------------------------------------------------------------------------------------------


async def _model(person: Person, gate: Gate, id: str) -> Json | None:
    """Returns a stored model as Open WebUI's ``ModelModel`` has it; None when there is none for this person."""
    preset = (await snapshot.functions()).presets.get(id)
    return _described(preset, person) if preset is not None and _may_use(person, preset) else None


async def _models(person: Person, gate: Gate) -> list[Json]:
    """Returns the stored models that the person may use, in order of id."""
    presets = (await snapshot.functions()).presets
    return [_described(presets[id], person) for id in sorted(presets) if _may_use(person, presets[id])]


def _may_use(person: Person, preset: Preset) -> bool:
    return person.can("functions_app.view_model") or (preset.is_active and preset.open_to(person))


def _described(preset: Preset, person: Person) -> Json:
    """Returns a model; how it is instructed only to those who may see that elsewhere too."""
    inside = {**preset.params, "system": preset.system} if person.can("functions_app.view_model") else {}
    return {
        "id": preset.id,
        "user_id": "",
        "base_model_id": preset.base or None,
        "name": preset.name or preset.id,
        "params": inside,
        "meta": {
            **preset.meta,
            "filterIds": list(preset.filters),
            "actionIds": list(preset.actions),
            "defaultFilterIds": sorted(preset.default_filters),
        },
        "access_grants": [],
        "is_active": preset.is_active,
        "created_at": preset.created,
        "updated_at": preset.created,
    }


# --- Files ---------------------------------------------------------------------------------------------


async def _file(person: Person, gate: Gate, id: str) -> Json | None:
    """Returns one of the person's own files as Open WebUI's ``FileModel`` has it; None when it is not there."""
    row = await _own_file(person, gate, id)
    if row is None:
        return None
    async with gate():
        text = await in_database(row.text)
    return row.to_wire(text)


async def _files(person: Person, gate: Gate, skip: int, limit: int) -> Json:
    """Returns ``{"items": [...], "total"}`` of the person's own files, the newest first."""

    def read() -> Json:
        rows = File.objects.stored().filter(user_id=person.id)
        return {"items": [row.to_wire() for row in rows[skip : skip + limit]], "total": rows.count()}

    async with gate():
        return await in_database(read)


async def _read(person: Person, gate: Gate, id: str, offset: int, length: int) -> str:
    """Returns a piece of one of the person's own files in base64; empty beyond its end."""
    row = await _needed_file(person, gate, id)
    async with gate():
        return await in_database(_piece, row, offset, length)


async def _stream(person: Person, gate: Gate, id: str) -> AsyncIterator[str]:
    """Yields one of the person's own files from beginning to end, in pieces of base64."""
    row = await _needed_file(person, gate, id)
    offset = 0
    while True:
        async with gate():
            piece = await in_database(_piece, row, offset, PART)
        if not piece:
            return
        yield piece
        offset += PART


def _piece(row: File, offset: int, length: int) -> str:
    try:
        with row.open() as content:
            content.seek(offset)
            return base64.b64encode(content.read(length)).decode()
    except OSError:
        raise RequestError(f"The content of file {row.pk} is not there.") from None


async def _own_file(person: Person, gate: Gate, id: str) -> File | None:
    key = _uuid(id)
    if key is None:
        return None
    async with gate():
        return await in_database(File.objects.stored().filter(pk=key, user_id=person.id).first)


async def _needed_file(person: Person, gate: Gate, id: str) -> File:
    row = await _own_file(person, gate, id)
    if row is None:
        raise RequestError(f"The caller has no file {id!r}.")
    return row


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


_SKIP, _LIMIT = _whole(0, 10**9, 0), _whole(1, PAGE, PAGE)

METHODS: Mapping[str, HostCall] = MappingProxyType(
    {
        "users.get": HostCall("users.read", None, {"id": _text()}, _user),
        "users.list": HostCall("users.read", None, {"skip": _SKIP, "limit": _LIMIT}, _users),
        "models.get": HostCall("models", Scope.MODELS.value, {"id": _text(300)}, _model),
        "models.list": HostCall("models", Scope.MODELS.value, {}, _models),
        "files.get": HostCall("files", Scope.FILES.value, {"id": _text()}, _file),
        "files.list": HostCall("files", Scope.FILES.value, {"skip": _SKIP, "limit": _LIMIT}, _files),
        "files.read": HostCall(
            "files",
            Scope.FILES.value,
            {"id": _text(), "offset": _whole(0, 2**62, 0), "length": _whole(1, LONGEST_READ, LONGEST_READ)},
            _read,
        ),
        "files.stream": HostCall("files", Scope.FILES.value, {"id": _text()}, _stream),
    }
)
"""What can be asked, by the name it is asked by."""
