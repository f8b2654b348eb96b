"""How a hook wants to be called, worked out once when its function is loaded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .arguments import TABLE, Maker

HOOKS = ("pipe", "pipes", "inlet", "request", "stream", "outlet", "action", "run", "event")
EVENT_PAYLOAD = frozenset(("stream", "event"))
NO_PAYLOAD = frozenset(("pipes",))


class Plan(NamedTuple):
    """One hook: the bound method, what it is, and which arguments it gets."""

    hook: str
    call: Callable[..., Any]
    is_async: bool
    is_generator: bool
    payload: str | None
    """The keyword of the payload; "" gives it by position, None not at all."""
    makers: tuple[tuple[str, Maker], ...]
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    kwargs: bool
    wants_metadata: bool
    signature: tuple[inspect.Parameter, ...]


def plan(hook: str, method: Callable[..., Any]) -> Plan:
    """Returns the plan of a hook. A signature that cannot be read counts as ``(payload, **kwargs)``."""
    try:
        found = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        found = [inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)]
    named = [p for p in found if p.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)]
    by_keyword = [p.name for p in named if p.kind is not inspect.Parameter.POSITIONAL_ONLY]
    kwargs = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found)
    payload = payload_of(hook, found)
    # ``user`` is no argument of Open WebUI's: functions that give it a default count on being left with that.
    defaulted = {p.name for p in named if p.default is not inspect.Parameter.empty}
    wanted = [name for name in by_keyword if name != payload and not (name == "user" and name in defaulted)]
    if kwargs and hook == "event":
        wanted += [entry.name for entry in TABLE.values() if entry.events_only and entry.name not in wanted]
        wanted += [name for name in ("__request__", "__id__") if name not in wanted]
    asynchronous, generator = _nature(method)
    return Plan(
        hook=hook,
        call=method,
        is_async=asynchronous,
        is_generator=generator,
        payload=payload,
        makers=tuple((name, TABLE[name].make) for name in wanted if name in TABLE and TABLE[name].serves(hook)),
        parameters=tuple(p.name for p in named),
        required=tuple(p.name for p in named if p.default is inspect.Parameter.empty),
        kwargs=kwargs,
        wants_metadata="__metadata__" in wanted,
        signature=tuple(found),
    )


def plans(instance: object) -> dict[str, Plan]:
    """Returns the plans of all hooks an instance has; what is not callable is no hook."""
    made: dict[str, Plan] = {}
    for hook in HOOKS:
        method = getattr(instance, hook, None)
        if callable(method):
            made[hook] = plan(hook, method)
    return made


def keyword_of(hook: str) -> str | None:
    """Returns the name under which a hook is given its payload; None for hooks without one."""
    return None if hook in NO_PAYLOAD else "event" if hook in EVENT_PAYLOAD else "body"


def payload_of(hook: str, found: Sequence[inspect.Parameter]) -> str | None:
    """Returns how the payload goes in: by its keyword, else as the first parameter that is no special argument.

    "" is by position, None not at all.
    """
    keyword = keyword_of(hook)
    if keyword is None:
        return None
    named = [p for p in found if p.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)]
    by_keyword = [p.name for p in named if p.kind is not inspect.Parameter.POSITIONAL_ONLY]
    if keyword in by_keyword or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found):
        return keyword
    if named and named[0].kind is inspect.Parameter.POSITIONAL_ONLY:
        return ""
    if by_keyword and by_keyword[0] not in TABLE:
        return by_keyword[0]
    return "" if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in found) else None


def _nature(method: Callable[..., Any]) -> tuple[bool, bool]:
    """Returns whether the hook is async, and whether it is a generator."""
    target: Any = method
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target).__call__
    if inspect.isasyncgenfunction(target):
        return True, True
    return inspect.iscoroutinefunction(target), inspect.isgeneratorfunction(target)
