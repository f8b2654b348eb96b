"""What functions may ask about functions, and about the valves of their own and of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError

from functions_app import roles, wire
from functions_app.fields import UndecryptableValves
from functions_app.models import Function, User, UserValves, Valves
from functions_app.runtime import InvalidValves, LoadError
from pipeline_app.errors import FunctionUnavailable, RequestError
from pipeline_app.hostcalls.declared import Asked, HostCall, Json, facts, flag, text
from pipeline_app.models import Scope
from pipeline_app.snapshot import Entry, snapshot

READ_OTHERS = "valves.read"
"""The grant for what only those see who may look into functions: the code and the valves of others."""
CHANGE = "functions.write"


async def _function(asked: Asked, id: str) -> Json | None:
    """Returns a function as Open WebUI's ``FunctionModel`` has it; None when there is none for this person.

    The source is that of a function the person may look into, when the asking function may read others.
    """
    inside = _looks_inside(asked)

    def read() -> Json | None:
        row = Function.objects.filter(pk=id).first() if "\0" not in id else None
        if row is None:
            return None
        ((_, version),) = wire.shown([row], source=inside)
        if inside:
            return wire.model(row, version)
        if not row.is_active or row.live_id is None:
            return None
        return {**wire.trimmed(wire.response(row, version)), "content": ""}

    return await asked.database(read)


async def _functions(asked: Asked, kind: str, active_only: bool) -> list[Json]:
    """Returns functions by id, without sources; to people who may not view functions, those that are active."""
    sees_all = _sees_all(asked)

    def read() -> list[Json]:
        rows = Function.objects.order_by("id")
        if active_only or not sees_all:
            rows = rows.active()
        if kind:
            rows = rows.of_kind(kind)
        told = [{**wire.response(row, version), "content": ""} for row, version in wire.shown(rows)]
        return told if sees_all else [wire.trimmed(function) for function in told]

    return await asked.database(read)


def _sees_all(asked: Asked) -> bool:
    person = asked.person
    return person.may(Scope.FUNCTIONS.value) and (person.can(roles.VIEW) or person.can(roles.AUTHOR))


def _looks_inside(asked: Asked) -> bool:
    return READ_OTHERS in asked.identity.policy.grants and _sees_all(asked)


# --- Valves --------------------------------------------------------------------------------------------


async def _valves(asked: Asked, id: str) -> Json | None:
    """Returns what is set for a function, in clear text: its own, or of another one that the person may configure."""
    if id != asked.identity.function_id:
        asked.needs_grant(READ_OTHERS, "read the valves of other functions")
        asked.needs_scope(Scope.FUNCTIONS.value, "Reading the valves of functions")
        asked.needs(roles.CONFIGURE, "read the valves of functions")
    entry = await _entry(asked, id)
    return None if entry is None else entry.set_valves("valves")


async def _set_valves(asked: Asked, id: str, values: Json) -> Json:
    """Sets valves of a function, as an administrator does, and returns what is set."""
    asked.needs(roles.CONFIGURE, "set the valves of functions")

    def change() -> None:
        row = _row(id)
        Valves.objects.set_values(row, values, User.objects.filter(pk=asked.person.id).first())

    await _attempt(asked, id, change)
    entry = await _entry(asked, id)
    return entry.set_valves("valves") if entry is not None else values


async def _user_valves(asked: Asked, id: str, user_id: str) -> Json | None:
    """Returns what the caller set for a function: this one, or another where it may read those; None for others."""
    if user_id != asked.person.id:
        return None
    if id != asked.identity.function_id:
        asked.needs_grant(READ_OTHERS, "read the valves of other functions")
    entry = await _entry(asked, id)
    return None if entry is None else (asked.person.valves_of(entry, "user_valves") or {})


async def _set_user_valves(asked: Asked, id: str, user_id: str, values: Json) -> Json | None:
    """Sets what the caller has for a function, this one or where it may change others, and returns what is set."""
    if user_id != asked.person.id:
        return None
    if id != asked.identity.function_id:
        asked.needs_grant(CHANGE, "set the user valves of other functions")

    def change() -> Json:
        owner = User.objects.filter(pk=asked.person.id).first()
        if owner is None:
            raise RequestError("The caller's account is gone.")
        return dict(UserValves.objects.set_values(_row(id), owner, values).values)

    found: Json = await _attempt(asked, id, change)
    return found


async def _entry(asked: Asked, id: str) -> Entry | None:
    """Returns an active function."""
    return (await snapshot.functions()).entries.get(id)


def _row(id: str) -> Function:
    row = Function.objects.select_related("live").filter(pk=id).first() if "\0" not in id else None
    if row is None:
        raise RequestError(f"There is no function {id[:100]!r}.")
    return row


async def _attempt(asked: Asked, id: str, change: Callable[[], Any]) -> Any:
    """Returns what a change returns; what it refuses becomes a sentence for the author."""
    try:
        return await asked.database(change)
    except ValidationError as error:
        raise RequestError(" ".join(error.messages)) from None
    except InvalidValves as error:
        raise RequestError(str(error)) from None
    except ObjectDoesNotExist:
        raise RequestError(f"There is no function {id[:100]!r} any more.") from None
    except (LoadError, UndecryptableValves) as error:
        raise FunctionUnavailable(id, "load", str(error)) from None


_FUNCTIONS = Scope.FUNCTIONS.value
_WHOSE = {"id": text(), "user_id": text()}

METHODS: Mapping[str, HostCall] = MappingProxyType(
    {
        "functions.get": HostCall("models", None, {"id": text()}, _function),
        "functions.list": HostCall("models", None, {"kind": text(20, ""), "active_only": flag(False)}, _functions),
        "functions.valves": HostCall("models", None, {"id": text()}, _valves),
        "functions.set_valves": HostCall(CHANGE, _FUNCTIONS, {"id": text(), "values": facts()}, _set_valves),
        "functions.user_valves": HostCall("models", None, _WHOSE, _user_valves),
        "functions.set_user_valves": HostCall("models", None, {**_WHOSE, "values": facts()}, _set_user_valves),
    }
)
