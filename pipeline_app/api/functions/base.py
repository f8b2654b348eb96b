"""What the views of functions share: how they find one, how they show it, and how they refuse."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse

from functions_app import wire
from functions_app.models import Environment, Function, FunctionVersion, User
from functions_app.models.function import VersionConflict
from functions_app.roles import AUTHOR, VIEW
from functions_app.runtime import LoadError, RequirementError
from pipeline_app.api.base import json_response
from pipeline_app.errors import RequestError
from pipeline_app.snapshot import Person

Json = dict[str, Any]


class FunctionNotFound(RequestError):
    """No such function, or no such version of it."""

    status = 404


def function_or_404(function_id: str) -> Function:
    """Returns a stored function. To be called where the database may be used."""
    rows = Function.objects.select_related("live")
    found = rows.filter(pk=function_id).first() if "\0" not in function_id else None
    if found is None:
        raise not_found(function_id)
    return found


def not_found(function_id: str) -> FunctionNotFound:
    """Returns the refusal of an id that no function has."""
    return FunctionNotFound(f"There is no function '{function_id}'.", param="id", code="function_not_found")


def user_of(person: Person) -> User | None:
    """Returns who calls, as a row; None when it is gone by now. To be called where the database may be used."""
    return User.objects.filter(pk=person.id).first()


# --- How a function is shown --------------------------------------------------------------------------


def about(version: FunctionVersion | None) -> Json:
    """Returns what stands beside Open WebUI's keys: which version is shown, and how it fares."""
    return {"number": version.number if version else None, "state": version.state if version else None}


def looks_inside(person: Person) -> bool:
    """Whether somebody may see sources."""
    return person.can(VIEW) or person.can(AUTHOR)


def whole(person: Person, function: Function, version: FunctionVersion | None = None) -> Json:
    """Returns the ``FunctionModel`` with a version, the one that clients are shown unless another is named.

    Beside Open WebUI's keys it has that version's number and state, and in ``newest`` how the newest one fares.
    Somebody who may turn switches but not look inside gets it trimmed and with an empty source. To be called where
    the database may be used.
    """
    newest = function.newest
    if newest is not None and newest.state == newest.State.LIVE and newest.pk != function.live_id:
        _read_again(function)  # the version took over after the function was read
    if version is None:
        version = newest if newest is not None and function.live_id in (None, newest.pk) else function.live
    if version is not None:
        version.function = function
    told = wire.model(function, version)
    inside = looks_inside(person)
    return {
        **(told if inside else {**wire.trimmed(told), "content": ""}),
        **about(version),
        "newest": None
        if newest is None
        else {
            "version_id": str(newest.pk),
            **about(newest),
            "error": told_error(newest.error, with_lines=inside),
            "environment": told_environment(newest.environment) if inside else None,
        },
    }


def _read_again(function: Function) -> None:
    try:
        function.refresh_from_db()
    except Function.DoesNotExist:
        raise not_found(function.pk) from None


def told_environment(row: Environment | None) -> Json | None:
    """Returns how the packages of a version fare; None when it needs none of its own."""
    if row is None:
        return None
    return {"id": str(row.pk), "state": row.state, "progress": row.progress, "error": row.error}


def told_error(error: Any, *, with_lines: bool = True) -> Json | None:
    """Returns what is told of why a version does not load; the traceback, with lines of the source, on demand."""
    if not isinstance(error, dict):
        return None
    told = {name: error.get(name) for name in ("type", "message", "line", "traceback")}
    return told if with_lines else {**told, "traceback": None}


def answer(function: Function, told: Json, version: FunctionVersion | None, status: int = 200) -> HttpResponse:
    """Returns a function as an answer, with the ``ETag`` that an update may send back in ``If-Match``."""
    return json_response(told, status, {"ETag": f'"{function.revision(version)}"'})


# --- How it is refused --------------------------------------------------------------------------------


def invalid(error: ValidationError, param: str | None = None) -> RequestError:
    """Returns the refusal of a value that the data app did not take."""
    code = getattr(error, "code", None) or "invalid_value"
    if code == "taken":
        return RequestError(" ".join(error.messages), param="id", code="id_taken", status=409)
    if code == "not_live":
        return RequestError(" ".join(error.messages), code=code, status=409)
    return RequestError(" ".join(error.messages), param=param, code="invalid_value")


def conflict(function: Function, error: VersionConflict) -> RequestError:
    """Returns the refusal of an update that would undo somebody else's."""
    current = error.current
    told = f"{current.pk} (version {current.number}, {current.state})" if current is not None else "null"
    refusal = RequestError(
        f"Function '{function.id}' was changed since you read it: its current version_id is {told}. "
        "Nothing was stored. Read that version, put your change on top of it, and send that.",
        param="version_id",
        code="version_conflict",
        status=409,
        headers={"ETag": f'"{function.revision(current)}"'},
    )
    refusal.extra = {"version_id": str(current.pk) if current is not None else None}
    return refusal


def not_loading(error: Exception, rest: str, version: FunctionVersion) -> RequestError:
    """Returns the refusal of a source that does not load; ``rest`` says what became of it.

    ``load_error`` beside the error object has ``{"type", "message", "line", "traceback"}``, with the author's lines,
    and ``environment_id`` names the set of packages that was tried, which has the log of that.
    """
    data = error.error if isinstance(error, LoadError) else {"type": type(error).__name__, "message": str(error)}
    refusal = broken(data, rest)
    if isinstance(error, RequirementError):
        refusal.extra["environment_id"] = str(version.environment_id) if version.environment_id else None
    return refusal


def broken(data: Json, rest: str, *, with_lines: bool = True) -> RequestError:
    """Returns the refusal of a source with what was found out about it."""
    line = f" (line {data['line']})" if data.get("line") else ""
    message = f"{str(data.get('message') or data.get('type')).rstrip('.')}{line}. {rest}"
    unavailable = data.get("type") == "Unavailable"  # it is not the source's fault
    refusal = RequestError(message, param="content", code="load_failed", status=503 if unavailable else 400)
    if unavailable:
        refusal.type = "server_error"
    refusal.extra = {"load_error": told_error(data, with_lines=with_lines)}
    return refusal
