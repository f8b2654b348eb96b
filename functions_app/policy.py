"""What a function may do: the fields of its policy, their defaults, and the installation's ceilings."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

TIME_LIMITS: Mapping[str, float] = MappingProxyType(
    {
        "pipe": 300.0,
        "first_chunk": 60.0,
        "inlet": 10.0,
        "request": 10.0,
        "outlet": 10.0,
        "stream": 1.0,
        "action": 120.0,
        "event": 60.0,
        "pipes": 10.0,
        "options": 10.0,
        "load": 30.0,
    }
)
"""Seconds of wall time by hook; ``stream`` is one event, ``first_chunk`` the wait for a pipe's first item."""

WHOLE_CALLS = frozenset({"pipe", "inlet", "request", "outlet", "action", "event", "pipes", "options"})
"""The hooks whose limit a plain number sets; for the others it only ever lowers it."""

NETWORKS = ("none", "public", "open")
ISOLATION_LEVELS = ("inline", "process", "basic", "standard", "strict")
GRANTS: Mapping[str, str] = MappingProxyType(
    {
        "events": "send events to the client and ask the user",
        "models": "call other models as the user",
        "files": "read and write the user's own files",
        "chats": "read and write the user's own chats and memories",
        "users.read": "read public fields of users",
        "users.write": "change users",
        "functions.write": "change functions",
        "valves.read": "read the code and the valves of other functions",
    }
)
DEFAULT_GRANTS = ("events", "models", "files", "chats", "users.read")
SYNC_SHARE = 128
MEMORY_PER_THREAD_MB = 4
MOST = 2**31 - 1

_MODULE = re.compile(r"[^\W\d]\w*\Z")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?(:\d{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that hold for one function, all filled in."""

    on_error: str = "block"
    stream_mode: str = "pass"
    time_limits: Mapping[str, float] = field(default_factory=lambda: TIME_LIMITS)
    cpu_limit: float = 60.0
    memory_mb: int = 512
    disk_mb: int = 256
    output_mb: int = 16
    threads: int = 256
    concurrency: int = 256
    network: str = "public"
    allow: tuple[str, ...] = ()
    grants: tuple[str, ...] = DEFAULT_GRANTS
    imports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    min_isolation: str = ""

    def time_limit(self, hook: str) -> float:
        """Returns the seconds that one call of a hook may take."""
        return self.time_limits[hook]

    @property
    def sync_concurrency(self) -> int:
        """How many of the concurrent calls may be of sync hooks: each holds a thread, and a thread needs memory."""
        return max(1, min(SYNC_SHARE, self.concurrency, self.memory_mb // MEMORY_PER_THREAD_MB, self.threads - 8))

    def refused_imports(self, modules: Iterable[str]) -> list[str]:
        """Returns which of the modules the import rule refuses."""
        tops = sorted({module.partition(".")[0] for module in modules} - {"__future__"})
        if "allow" in self.imports:
            return [module for module in tops if module not in self.imports["allow"]]
        return [module for module in tops if module in self.imports.get("deny", ())]

    def to_wire(self) -> dict[str, Any]:
        """Returns the policy under its wire names, as plain JSON."""
        wire = {item.name: getattr(self, item.name) for item in fields(self)}
        wire["time_limit"] = dict(wire.pop("time_limits"))
        wire["imports"] = {name: list(modules) for name, modules in self.imports.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in wire.items()}

    @classmethod
    def clean(cls, partial: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a partial update in its stored form; None stays None and means "back to the default".

        Raises ``ValidationError`` with a sentence per wrong or unknown field.
        """
        if not isinstance(partial, Mapping):
            raise ValidationError(f"A policy is an object of fields, not {type(partial).__name__}.")
        cleaned: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for name, value in partial.items():
            if name not in CLEANERS:
                errors[str(name)] = f"A policy has no field {name!r}; it has {', '.join(CLEANERS)}."
                continue
            try:
                cleaned[name] = None if value is None else CLEANERS[name](value)
            except ValueError as error:
                errors[name] = str(error)
        if errors:
            raise ValidationError(errors)
        return cleaned

    @classmethod
    def resolve(cls, stored: Mapping[str, Any], settings_policy: Mapping[str, Any]) -> Policy:
        """Returns the rules that hold: built-in defaults, the installation's, the function's own, then ceilings.

        ``settings_policy`` is ``{"defaults": {...}, "ceilings": {...}}``, both policies in wire names.
        A ceiling caps numbers, sets the widest network, limits ``allow`` and ``grants`` to its own
        entries and is the least isolation; import rules of both hold.
        """
        least = settings.FUNCTIONS_MIN_ISOLATION
        layers = [
            cls.clean({"imports": settings.FUNCTIONS_IMPORTS or None, "min_isolation": least}),
            cls.clean(settings_policy.get("defaults") or {}),
            stored,
        ]
        found: dict[str, Any] = {}
        limits = dict(TIME_LIMITS)
        for layer in layers:
            for name, value in layer.items():
                if value is None or name not in CLEANERS:
                    continue
                if name == "time_limit":
                    limits = _with_time_limit(limits, value)
                else:
                    found[name] = tuple(value) if isinstance(value, list) else value
        ceilings = cls.clean(settings_policy.get("ceilings") or {})
        for name, ceiling in ceilings.items():
            if ceiling is None:
                continue
            if name == "time_limit":
                most = ceiling if isinstance(ceiling, dict) else dict.fromkeys(limits, ceiling)
                limits = {hook: min(seconds, most.get(hook, seconds)) for hook, seconds in limits.items()}
            else:
                found[name] = _capped(name, found.get(name, _default(name)), ceiling)
        if "imports" in found:
            found["imports"] = {rule: tuple(modules) for rule, modules in found["imports"].items()}
        return cls(time_limits=MappingProxyType(limits), **found)


def is_enough(level: str, least: str) -> bool:
    """Returns whether an isolation level is at least another; an empty ``least`` asks for nothing."""
    return not least or ISOLATION_LEVELS.index(level) >= ISOLATION_LEVELS.index(least)


def _default(name: str) -> Any:
    return getattr(Policy(), name)


def _with_time_limit(limits: Mapping[str, float], value: Any) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {**limits, **value}
    return {
        hook: value if hook in WHOLE_CALLS else min(seconds, value) if hook != "load" else seconds
        for hook, seconds in limits.items()
    }


def _capped(name: str, value: Any, ceiling: Any) -> Any:
    match name:
        case "network":
            return min(value, ceiling, key=NETWORKS.index)
        case "min_isolation":
            return max(value or ISOLATION_LEVELS[0], ceiling, key=ISOLATION_LEVELS.index)
        case "allow" | "grants":
            return tuple(entry for entry in value if entry in ceiling)
        case "imports":
            return _both(value, ceiling)
        case "on_error" | "stream_mode":
            return ceiling
        case _:
            return min(value, ceiling)


def _both(one: Mapping[str, Iterable[str]], other: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Returns the import rule under which only what both rules allow is allowed."""
    allows = [set(rule["allow"]) for rule in (one, other) if "allow" in rule]
    denied = {module for rule in (one, other) for module in rule.get("deny", ())}
    if allows:
        return {"allow": tuple(sorted(set.intersection(*allows) - denied))}
    return {"deny": tuple(sorted(denied))} if denied else {}


def _choice(*choices: str) -> Callable[[Any], str]:
    def clean(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"Must be one of {', '.join(choices)}.")
        return value

    return clean


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MOST:
        raise ValueError("Must be a number greater than 0.")
    return float(value)


def _whole(least: int) -> Callable[[Any], int]:
    def clean(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise ValueError(f"Must be a whole number of at least {least}.")
        return value

    return clean


def _time_limit(value: Any) -> float | dict[str, float]:
    if not isinstance(value, Mapping):
        return _number(value)
    limits: dict[str, float] = {}
    for hook, seconds in value.items():
        if hook not in TIME_LIMITS:
            raise ValueError(f"There is no hook {hook!r}; limits are for {', '.join(TIME_LIMITS)}.")
        try:
            limits[hook] = _number(seconds)
        except ValueError as error:
            raise ValueError(f"{hook}: {error}") from None
    return limits


def _texts(value: Any, what: str) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, str) for entry in value):
        raise ValueError(f"Must be a list of {what}.")
    return list(dict.fromkeys(entry.strip() for entry in value))


def _allow(value: Any) -> list[str]:
    entries = _texts(value, "hosts, host:port, *.domain or CIDR")
    for entry in entries:
        if not _is_address(entry) and not _is_host(entry):
            raise ValueError(f"{entry!r} is not a host, host:port, *.domain or CIDR.")
    return entries


def _is_address(entry: str) -> bool:
    address, bracket, port = entry.removeprefix("[").partition("]") if entry.startswith("[") else (entry, "", "")
    if bracket and port and not (port.startswith(":") and _is_port(port[1:])):
        return False
    try:
        ipaddress.ip_network(address, strict=False)
    except ValueError:
        return False
    return True


def _is_host(entry: str) -> bool:
    host, colon, port = entry.partition(":")
    return bool(_HOST.match(entry)) and ".." not in host and (not colon or _is_port(port))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def _grants(value: Any) -> list[str]:
    entries = _texts(value, "grants")
    for entry in entries:
        if entry not in GRANTS:
            raise ValueError(f"There is no grant {entry!r}; there are {', '.join(GRANTS)}.")
    return entries


def _imports(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, Mapping) or len(value) > 1 or not set(value) <= {"allow", "deny"}:
        raise ValueError('Must be {"allow": [...]} or {"deny": [...]}; {} is no rule.')
    rule = {name: _texts(modules, "top-level modules") for name, modules in value.items()}
    for module in (module for modules in rule.values() for module in modules):
        if not _MODULE.match(module):
            raise ValueError(f"{module!r} is not a top-level module.")
    return rule


CLEANERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "on_error": _choice("block", "skip"),
        "stream_mode": _choice("pass", "hold"),
        "time_limit": _time_limit,
        "cpu_limit": _number,
        "memory_mb": _whole(128),
        "disk_mb": _whole(1),
        "output_mb": _whole(1),
        "threads": _whole(1),
        "concurrency": _whole(1),
        "network": _choice(*NETWORKS),
        "allow": _allow,
        "grants": _grants,
        "imports": _imports,
        "min_isolation": _choice(*ISOLATION_LEVELS),
    }
)
"""How each field is checked, in the order they are shown. A cleaner raises ``ValueError`` with a sentence."""
