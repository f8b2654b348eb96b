"""The directories that sets of packages live in: built aside, moved into place, shared, and removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from django.conf import settings

from pipeline_app.runners.environments import folders, troubles, uv
from pipeline_app.runners.environments.base import NOTE, install, python_tag, write_note
from pipeline_app.runners.environments.locks import Resolved
from pipeline_app.runners.environments.uv import Budget, Say

# Packages that are named when they are installed; of more, only the number is said.
NAMED = 12


class Kept(Protocol):
    """What is read of a stored environment (``functions_app.models.Environment``)."""

    @property
    def digest(self) -> str: ...

    @property
    def kind(self) -> str: ...


class Placed(NamedTuple):
    """Where a worker finds its packages.

    ``packages`` are directories laid over the base packages, ``environment`` is the directory that stands in their
    place, or empty.
    """

    packages: tuple[str, ...] = ()
    environment: str = ""


def placed(row: Kept | None) -> Placed:
    """Returns where the packages of a version are; ``row`` is its environment, None when the base packages do.

    Without a look at the disk: whether the directory is there is looked at when a worker starts
    (``runners.sandbox``), which must not go wrong for other functions, and may be right again a moment later.
    """
    if row is None or not row.digest:
        return Placed()
    path = str(path_of(row.digest))
    return Placed(environment=path) if row.kind == "complete" else Placed(packages=(path,))


def path_of(digest: str) -> Path:
    """Returns the directory of a set, whether it is there or not."""
    folder: Path = settings.FUNCTIONS_ENVIRONMENTS / f"set-{digest}"
    return folder


def build(resolved: Resolved, say: Say = uv.silent, *, wheels: Path | None = None) -> Path:
    """Returns the directory of a set of packages, built first where it is missing; at once where it is not.

    Processes that ask for the same set at the same time wait for the one that builds. ``wheels`` is a folder that
    stands in the place of any index. Raises ``RequirementError``.
    """
    if not resolved.digest:
        raise ValueError("There is nothing to build: the base packages have everything.")
    path = path_of(resolved.digest)
    budget = Budget()

    def fill(aside: Path, held: int) -> None:
        names = [f"{name} {version}" for name, version in resolved.packages.items()]
        say(f"Installing {troubles.listed(names) if len(names) <= NAMED else f'{len(names)} packages'}")
        install(aside, resolved.lock, budget=budget, say=say, held=held, wheels=wheels)
        note = {"kind": resolved.kind, "python": python_tag(), "packages": resolved.packages, "size": uv.used(aside)}
        write_note(aside, note)

    folders.make(path, fill, budget, say)
    return path


def remove(digest: str, still_unused: Callable[[], bool]) -> bool:
    """Removes the directory of a set and returns whether it is gone.

    It stays while somebody builds it, for ``folders.GRACE`` seconds after somebody asked for it, and when
    ``still_unused``, asked last and while nobody can ask for it, says no.
    """
    return folders.remove(path_of(digest), still_unused)


def size_of(digest: str) -> int:
    """Returns the bytes of a set, 0 when it is not there; what it shares with other sets counts in each."""
    path = path_of(digest)
    try:
        return int(json.loads((path / NOTE).read_text())["size"])
    except (OSError, ValueError, KeyError):
        return uv.used(path)


def sweep() -> int:
    """Removes what builds that were killed left behind, and returns how many there were."""
    return folders.sweep(settings.FUNCTIONS_ENVIRONMENTS)
