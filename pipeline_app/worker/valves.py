"""Valves and user valves: objects of the author's own models, what they accept, and their schemas."""

from __future__ import annotations

import copy as copying
import inspect
import logging
from collections.abc import Callable
from typing import Any

from .errors import HookError, ValvesError
from .jsonable import copy, jsonable
from .loader import Loaded
from .tracebacks import text_of

SCOPES = {"valves": "Valves", "user_valves": "UserValves"}
HIDDEN = "***"
SHORTEST_HIDDEN = 4
"""Shorter texts, such as "on", are left in sentences: they would take words apart."""

log = logging.getLogger(__name__)


def model_of(loaded: Loaded, scope: str) -> Any:
    """Returns the author's class for a scope, ``valves`` or ``user_valves``; None when he has none."""
    return getattr(loaded.instance, SCOPES[scope], None)


def is_first(model: Any) -> bool:
    """Whether a class is a model of ``pydantic.v1``, or of pydantic 1 itself."""
    return not hasattr(model, "model_fields") and isinstance(getattr(model, "__fields__", None), dict)


def kept(values: dict[str, Any] | None) -> dict[str, Any]:
    """Returns a copy of stored values without those that are None, which means "default"."""
    return {name: copy(value) for name, value in values.items() if value is not None} if values else {}


def build(loaded: Loaded, values: dict[str, Any] | None) -> Any:
    """Returns a fresh object of the function's valves. Raises ``HookError`` when the stored values do not fit."""
    try:
        return loaded.instance.Valves(**kept(values))
    except Exception as exc:
        found = _without(values, _sentences(exc))
        message = f"The stored valves of {loaded.function_id} do not fit its code: {found}. Change them, or the code."
        data = {**loaded.failure(exc), "message": message, "status": None, "detail": None}
        # pydantic's own text repeats the values, secrets too
        data["traceback"] = "" if _lists_errors(exc) else _without(values, data["traceback"])
        raise HookError(data) from exc


def build_user(loaded: Loaded, values: dict[str, Any] | None) -> Any:
    """Returns a fresh object of the function's user valves.

    A user's stored value that no longer fits is left at its default and logged: it must not lock him out. Where
    values do not fit together the first ones win, which are those that administrators fix. None when the model cannot
    even be made without values.
    """
    model, given = loaded.instance.UserValves, kept(values)
    try:
        return model(**given)
    except Exception as exc:
        fitting: dict[str, Any] = {}
        for name, value in given.items():
            if _fits(model, {**fitting, name: value}):
                fitting[name] = value
        wrong = given.keys() - fitting.keys()
        found = ", ".join(sorted(wrong)) or _without(given, _sentences(exc))
        log.warning("User valves of %s that do not fit are at their defaults: %s", loaded.function_id, found)
        for rest in (fitting, {}):
            try:
                return model(**rest)
            except Exception as again:
                found = _without(given, _sentences(again))
                log.warning("User valves of %s cannot be made: %s", loaded.function_id, found)
        return None


def _fits(model: Any, values: dict[str, Any]) -> bool:
    """Whether the model has nothing against values but that others are missing."""
    try:
        model(**values)
    except Exception as exc:
        return _lists_errors(exc) and all(
            error["msg"].lower() == "field required" and len(error["loc"]) == 1 for error in _errors(exc)
        )
    return True


def validate(loaded: Loaded, scope: str, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the explicitly set values as the author's own model keeps them, in JSON types.

    Values that are None are dropped. Raises ``ValvesError`` when the model refuses them or there is none.
    """
    model = model_of(loaded, scope)
    if model is None:
        raise ValvesError([{"loc": [], "msg": f"{loaded.function_id} has no {SCOPES[scope]}."}])
    given = kept(values)
    try:
        made = model(**given)
        if hasattr(made, "model_dump"):
            try:
                dumped = made.model_dump(exclude_unset=True, mode="json")
            except ValueError:  # a field without a JSON form
                dumped = made.model_dump(exclude_unset=True)
        elif is_first(model):
            dumped = made.dict(exclude_unset=True)
        else:
            return given
        result: dict[str, Any] = jsonable(dumped)
        return result
    except Exception as exc:
        raise ValvesError(_errors(exc)) from exc


def schema(loaded: Loaded, scope: str) -> dict[str, Any] | None:
    """Returns the JSON schema of the author's model, None when he has none or it gives none."""
    model = model_of(loaded, scope)
    make = getattr(model, "model_json_schema", None) or (getattr(model, "schema", None) if is_first(model) else None)
    made = jsonable(make()) if callable(make) else None
    return made if isinstance(made, dict) else None


def options(loaded: Loaded, scope: str, user: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns the schema with ``input.options`` that name a method of the model replaced by what it returns now.

    A method that is missing, fails or returns no list leaves its name there and is logged. None without a model.
    """
    made = schema(loaded, scope)
    model = model_of(loaded, scope)
    properties = (made or {}).get("properties")
    if not isinstance(properties, dict):
        return made
    for name, entry in properties.items():
        hints = entry.get("input") if isinstance(entry, dict) else None
        if isinstance(hints, dict) and isinstance(hints.get("options"), str) and hints["options"]:
            found = _listed(getattr(model, hints["options"], None), user, f"{loaded.function_id}: options of {name}")
            if found is not None:
                entry["input"] = {"type": "select", **hints, "options": found}
    return made


def _listed(method: Callable[..., Any] | None, user: dict[str, Any] | None, where: str) -> list[Any] | None:
    if not callable(method):
        log.warning("%s: there is no such method", where)
        return None
    try:
        asked = inspect.signature(method).parameters
        given = {name: copying.deepcopy(user) for name in ("__user__", "user") if name in asked}
        found = method(**given)
    except Exception as exc:
        log.warning("%s cannot be found: %s", where, text_of(exc))
        return None
    if inspect.iscoroutine(found):
        found.close()
    if not isinstance(found, list):
        log.warning("%s: the method returned %s instead of a list", where, type(found).__name__)
        return None
    listed: list[Any] = jsonable(found)
    return listed


def _without(values: Any, text: str) -> str:
    """Returns a text without the texts among stored values, which an author's validator may repeat: any may be secret,
    and whoever uses the function reads this."""
    for value in sorted(_texts(values), key=len, reverse=True):
        for said in {value, repr(value)[1:-1]}:
            text = text.replace(said, HIDDEN)
    return text


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*map(_texts, value))
    return {value} if isinstance(value, str) and len(value) >= SHORTEST_HIDDEN else set()


def _lists_errors(exc: Exception) -> bool:
    return callable(getattr(exc, "errors", None))


def _errors(exc: Exception) -> list[dict[str, Any]]:
    """Returns what pydantic found, or the exception itself, as ``[{"loc", "msg"}]``."""
    listing = getattr(exc, "errors", None)
    if callable(listing):
        try:
            return [
                {"loc": jsonable(list(error.get("loc", ()))), "msg": str(error.get("msg", ""))} for error in listing()
            ]
        except Exception as trouble:  # somebody else's ``errors``
            log.debug("errors() of %s failed: %s", type(exc).__name__, trouble)
    return [{"loc": [], "msg": text_of(exc)}]


def _sentences(exc: Exception) -> str:
    return "; ".join(_sentence(error) for error in _errors(exc))


def _sentence(error: dict[str, Any]) -> str:
    place = ".".join(map(str, error["loc"]))
    return f"{place}: {error['msg']}" if place else str(error["msg"])
