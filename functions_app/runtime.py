"""The one seam between the apps: what the data side may ask of whoever runs code.

Editing lives with the data and running lives in ``pipeline_app``; this module names the
questions, ``settings.FUNCTIONS_RUNTIME`` names who answers them. All of them are synchronous for
their callers (admin threads, management commands, tests) and may take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from functions_app.models import Environment, FunctionVersion, User

Scope = Literal["valves", "user_valves"]


class LoadError(Exception):
    """A source does not load. ``error`` is ``{"type", "message", "line", "traceback"}``, the last two possibly None."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error

    @classmethod
    def told(cls, data: Mapping[str, Any]) -> Self:
        """Returns the error that a runner tells of, without what else it knows."""
        return cls({name: data.get(name) for name in ("type", "message", "line", "traceback")})


class RequirementError(Exception):
    """The packages that a function asks for cannot be had; the message says which and why.

    ``code`` is a word for the kind of trouble (``pipeline_app.runners.environments.troubles.CODES``), ``log`` what the
    installing program said.
    """

    def __init__(self, message: str, *, code: str = "uv", log: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.log = log


class ShuttingDown(Exception):
    """This process ends, so what it was asked was not answered; another process may be."""


class InvalidValves(Exception):
    """Values do not fit the function's schema. ``errors`` is ``[{"loc": [...], "msg": str}]``."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, e['loc'])) or 'valves'}: {e['msg']}" for e in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Packed:
    """Packages as a bundle carries them: the lock of a set, and a folder with its wheels and no others.

    ``kind`` is that of the environment ("overlay", "complete"), "none" for requirements that the base packages meet,
    and "base" for those themselves. It holds for one Python (a tag) and over one set of base packages (a digest).
    """

    requirements: tuple[str, ...]
    kind: str
    lock: str
    python: str
    base: str
    wheels: Path


class Runtime(Protocol):
    """Whoever runs code. Versions are passed as model rows that need not be saved."""

    def prepare(self, version: FunctionVersion) -> Environment | None:
        """Makes the packages of the version available and returns their set; None when it needs none of its own.

        May take minutes, but not for a source whose text says already that it can't serve: ``LoadError``. The version
        is linked to the set while it is being built, and when that fails. Raises ``RequirementError``, and
        ``ShuttingDown``, as ``inspect`` and ``validate`` do.
        """

    def publish(self, version: FunctionVersion, **along: Any) -> bool | None:
        """Publishes the version as its own method does, in a way that outlives whoever asks.

        Returns None when it is not known in a moment what comes of it; it goes on by itself.
        """

    def build(self) -> None:
        """Takes up at once what was asked for and waits, versions and sets of packages, if this process serves."""

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

    def pack(self, version: FunctionVersion | None, folder: Path, say: Callable[[str], None]) -> Packed | None:
        """Puts the wheels of a version's packages, without one those of the base packages, into an empty folder.

        Returns None for a version that asks for no packages. Raises ``RequirementError``.
        """

    def adopt(self, version: FunctionVersion | None, packed: Packed, say: Callable[[str], None]) -> None:
        """Gives a version, which need not be saved, packages that were locked elsewhere; without one, the server its
        base packages. They are installed from their wheels, and no index is asked. Raises ``RequirementError``.
        """


@lru_cache(maxsize=1)
def _runtime(path: str) -> Runtime:
    made: Runtime = import_string(path)()
    return made


def get_runtime() -> Runtime:
    """Returns the runtime that the settings name; one object per process."""
    return _runtime(settings.FUNCTIONS_RUNTIME)
