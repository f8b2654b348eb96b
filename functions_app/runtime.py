"""The one seam between the apps: what the data side may ask of whoever runs code.

Editing lives with the data and running lives in ``pipeline_app``; this module names the
questions, ``settings.FUNCTIONS_RUNTIME`` names who answers them. All of them are synchronous for
their callers (admin threads, management commands, tests) and may take seconds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from functions_app.models import FunctionVersion, User

Scope = Literal["valves", "user_valves"]


class LoadError(Exception):
    """A source does not load. ``error`` is ``{"type", "message", "line", "traceback"}``, the last two possibly None."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


class RequirementError(Exception):
    """The packages that a function asks for cannot be had; the message says which and why."""


class InvalidValves(Exception):
    """Values do not fit the function's schema. ``errors`` is ``[{"loc": [...], "msg": str}]``."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, e['loc'])) or 'valves'}: {e['msg']}" for e in errors))
        self.errors = errors


class Runtime(Protocol):
    """Whoever runs code. Versions are passed as model rows that need not be saved."""

    def prepare(self, version: FunctionVersion) -> None:
        """Makes the packages of the version available. Raises ``RequirementError``."""

    def inspect(self, version: FunctionVersion) -> dict[str, Any]:
        """Loads the version's source and returns its manifest. Raises ``LoadError``."""

    def validate(self, version: FunctionVersion, scope: Scope, values: dict[str, Any]) -> dict[str, Any]:
        """Returns the set values as the function's own model keeps them. Raises ``InvalidValves``, ``LoadError``."""

    def check(self, version: FunctionVersion) -> dict[str, Any]:
        """Returns what is to be said of the version's source, which may be broken in any way, and changes nothing.

        ``{"ok", "kind", "frontmatter", "manifest", "findings"}``, see ``pipeline_app.checking``.
        """

    def options(self, version: FunctionVersion, scope: Scope, user: User | None) -> dict[str, Any] | None:
        """Returns the JSON schema with dynamic options resolved, None when there is none. Raises ``LoadError``."""

    def run(self, version: FunctionVersion, hook: str, **given: Any) -> dict[str, Any]:
        """Tries one hook: ``{"result", "events", "calls", "logs", "error", "timing", "run"}``, also of a failure."""

    def forget(self, function_id: str | None = None) -> None:
        """Drops what is loaded of one function, or of all."""


@lru_cache(maxsize=1)
def _runtime(path: str) -> Runtime:
    made: Runtime = import_string(path)()
    return made


def get_runtime() -> Runtime:
    """Returns the runtime that the settings name; one object per process."""
    return _runtime(settings.FUNCTIONS_RUNTIME)
