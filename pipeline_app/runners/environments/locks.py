"""From what a function asks for to exact versions with hashes."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Literal, Protocol

from django.conf import settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from functions_app import frontmatter, lock
from functions_app.runtime import RequirementError
from pipeline_app.runners.environments import troubles, uv
from pipeline_app.runners.environments.base import INSTALL_COMMAND, base_packages, base_path, python_tag
from pipeline_app.runners.environments.names import meant, mistaken
from pipeline_app.runners.environments.uv import Budget, Say

Kind = Literal["none", "overlay", "complete"]

# The names behind LOCK_NAME, as a person writes them.
WISHES_NAME = "requirements-functions.in"
# What a function of a complete environment needs in any case: its classes of valves are pydantic's.
ALWAYS = {"pydantic": "pydantic>=2"}
# What functions ask for and this server gives them by itself.
PROVIDED = frozenset({"open-webui", "python"})
# What another set of versions might make good.
_UNFIT = frozenset({"conflict", "no_wheel", "unknown_package"})
# First line of a lock that is laid over the base packages; with it, another base makes another directory.
_OVER = "# Laid over base packages "
_COMPLETE = "# In the place of the base packages\n"


class Row(Protocol):
    """What is read of a stored environment (``functions_app.models.Environment``)."""

    @property
    def requirements(self) -> Sequence[str]: ...

    @property
    def lock(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Resolved:
    """A set of packages in exact versions.

    ``none``: everything is among the base packages, there is nothing to build, ``digest`` is empty. ``overlay``: the
    lock has what is laid over the base packages. ``complete``: the lock has everything, in the place of the base.
    """

    requirements: list[str]
    lock: str
    kind: Kind
    # Names the directory: of the lock and the interpreter. 32 hexadecimal digits, or empty.
    digest: str
    # Normalised name to version, of what the lock has.
    packages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ground:
    """What is there already, by normalised name and version: a set that is laid over it has to agree with it."""

    pins: Mapping[str, str]

    @property
    def digest(self) -> str:
        text = "\n".join(f"{name}=={version}" for name, version in sorted(self.pins.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def has(self, wanted: Requirement) -> bool:
        """Returns whether a requirement is met for certain; what extras bring is not known here."""
        version = self.pins.get(canonicalize_name(wanted.name))
        return version is not None and not wanted.extras and wanted.specifier.contains(version, prereleases=True)


def ground() -> Ground:
    """Returns what functions find without asking: the base packages; with the inline runner the server's own first."""
    base = base_packages()
    pins = _pins(base.lock.read_text())
    if settings.FUNCTIONS_RUNNER == "inline":
        path = [entry for entry in sys.path if entry != str(base.path)]
        pins = {**pins} | {canonicalize_name(found.name): found.version for found in metadata.distributions(path=path)}
    return Ground(pins)


def ground_digest() -> str:
    """Returns what names the packages that functions find without asking; overlays hold for one such set."""
    return ground().digest


@lru_cache(maxsize=4)
def _pins(text: str) -> Mapping[str, str]:
    try:
        return {pin.name: str(pin.version) for pin in lock.read(text) if pin.is_wanted}
    except ValueError as error:
        raise RequirementError(f"The list of base packages cannot be used: {error}") from None


def resolve(requirements: Sequence[str], say: Say = uv.silent, *, wheels: Path | None = None) -> Resolved:
    """Returns the versions that a function's requirements mean today. May take seconds, with a cold cache minutes.

    ``say`` is told short sentences; ``wheels`` is a folder that stands in the place of any index. Raises
    ``RequirementError``, its code one of ``troubles.CODES``.
    """
    budget = Budget()
    wanted = _wanted(requirements)
    here = ground()
    _check_asked(wanted, here)
    if all(here.has(requirement) for requirement in wanted):
        return _over(requirements, here, "")
    say(f"Finding versions of {troubles.listed(str(requirement) for requirement in wanted)}")
    asked = Asked([str(requirement) for requirement in wanted], budget, say, wheels)
    try:
        found = asked.versions([], here.pins)
    except RequirementError as error:
        if error.code not in _UNFIT:
            raise
        say("They do not go with the base packages: finding a complete set of their own")
        names = {canonicalize_name(requirement.name) for requirement in wanted}
        try:
            resolved = _resolved(requirements, _COMPLETE + _complete(asked, names), "complete")
        except RequirementError as complete:
            raise _told(complete, wanted) from None
    else:
        resolved = _over(requirements, here, found)
    _check_found(resolved, here)
    return resolved


def _told(error: RequirementError, wanted: Iterable[Requirement]) -> RequirementError:
    """Returns an error with what was probably meant, where names of modules stand in the place of packages'."""
    trouble = f"{error}\n{error.log}".lower()
    named = {requirement.name: canonicalize_name(requirement.name) for requirement in wanted}
    said = [mistaken(name, package) for name, own in named.items() if own in trouble and (package := meant(own))]
    return RequirementError(" ".join([*said, str(error)]), code=error.code, log=error.log) if said else error


def _over(requirements: Sequence[str], here: Ground, found: str) -> Resolved:
    if requirements and base_path() is None:
        raise RequirementError(
            f"The base packages of functions are not installed yet. Run {INSTALL_COMMAND}.", code="base_missing"
        )
    missing = "".join(entry for name, entry in _entries(found) if name not in here.pins)
    if not missing:
        return Resolved(list(requirements), "", "none", "")
    return _resolved(requirements, f"{_OVER}{here.digest}\n{missing}", "overlay")


def _resolved(requirements: Sequence[str], text: str, kind: Kind) -> Resolved:
    return Resolved(list(requirements), text, kind, digest_of(text), packages_of(text))


class Asked:
    """What is asked of uv, several times with other additions."""

    def __init__(self, lines: list[str], budget: Budget, say: Say, wheels: Path | None) -> None:
        self.lines = lines
        self.budget = budget
        self.say = say
        self.wheels = wheels

    def versions(self, more: Iterable[str], pins: Mapping[str, str] | None = None) -> str:
        """Returns a lock of what is asked for and ``more``, in agreement with ``pins``. Raises ``RequirementError``."""
        arguments = ["pip", "compile", "-", "--only-binary", ":all:", "--generate-hashes", "--no-header"]
        arguments += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        if settings.FUNCTIONS_EXCLUDE_NEWER:
            arguments += ["--exclude-newer", settings.FUNCTIONS_EXCLUDE_NEWER]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
            if pins:
                constraints.writelines(f"{name}=={version}\n" for name, version in pins.items())
                constraints.flush()
                arguments += ["--constraint", constraints.name]
                if settings.FUNCTIONS_EXCLUDE_NEWER:  # what is installed already is not too young
                    arguments += [f"--exclude-newer-package={name}=9999-01-01" for name in pins]
            if settings.FUNCTIONS_CONSTRAINTS:
                arguments += ["--constraint", str(_constraints())]
            given = "\n".join([*self.lines, *more])
            return uv.run(arguments, budget=self.budget, say=self.say, given=given, wheels=self.wheels)


def _complete(asked: Asked, names: Collection[str]) -> str:
    """Returns a lock of what is asked for and of as much of the base packages as goes with it, in whatever version.

    Written as in ``WISHES_NAME`` where that fits all; else half of them, and the other half, and so on: what does not
    fit stays out.
    """
    wishes = {name: line for name, line in _wishes().items() if name not in names and not _is_denied(name)}
    taken = [line for name, line in ALWAYS.items() if name in _wishes()]
    try:
        least = asked.versions(taken)
    except RequirementError as error:
        if taken and error.code == "conflict" and taken[0] in error.log:
            message = f"Functions run with pydantic 2 here, and what is asked for does not go with it. {error}"
            raise RequirementError(message, code="conflict", log=error.log) from None
        raise

    def take(some: list[str]) -> None:
        nonlocal least
        try:
            least = asked.versions([*taken, *(wishes[name] for name in some)])
        except RequirementError as error:
            if error.code not in _UNFIT:
                raise
            if len(some) == 1:
                if some[0] not in ALWAYS:
                    asked.say(f"Without {some[0]}, which does not go with it")
                return
            take(some[: len(some) // 2])
            take(some[len(some) // 2 :])
        else:
            taken.extend(wishes[name] for name in some)

    if wishes:
        take(list(wishes))
    return least


def _wishes() -> dict[str, str]:
    """Returns the base packages that are named, not those that these bring: normalised name to line."""
    try:
        text = (settings.BASE_DIR / WISHES_NAME).read_text()
    except OSError:
        return {}
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {canonicalize_name(Requirement(line).name): line for line in lines if line}


def _constraints() -> Path:
    path = Path(settings.FUNCTIONS_CONSTRAINTS)
    if not path.is_file():
        raise RequirementError(f"FUNCTIONS_CONSTRAINTS names {path}, which is no file. Correct the setting.")
    return path.resolve()


def _wanted(requirements: Iterable[str]) -> list[Requirement]:
    """Returns what has to be had on this platform, without what comes with Python or with this server."""
    found = []
    for text in requirements:
        try:
            requirement = frontmatter.requirement(text)
        except frontmatter.UnusableRequirement as error:
            raise RequirementError(str(error), code=error.code) from None
        name = canonicalize_name(requirement.name)
        given = name in PROVIDED or name.replace("-", "_") in sys.stdlib_module_names
        if not given and (requirement.marker is None or requirement.marker.evaluate()):
            found.append(requirement)
    return found


def _check_asked(wanted: Iterable[Requirement], here: Ground) -> None:
    """Checks what functions ask for against ``FUNCTIONS_PACKAGES``; the base packages are there for all.

    One of these that is denied is not to be had in another version.
    """
    allowed = settings.FUNCTIONS_PACKAGES.get("allow")
    wrong = []
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        version = here.pins.get(name)
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        if (not fits and _is_denied(name)) or (version is None and allowed is not None and not _matches(name, allowed)):
            wrong.append(name)
    if wrong:
        raise RequirementError(
            f"{troubles.listed(wrong)} may not be installed on this server (FUNCTIONS_PACKAGES).", code="not_allowed"
        )


def _check_found(resolved: Resolved, here: Ground) -> None:
    """Checks what others bring along."""
    wrong = [name for name, version in resolved.packages.items() if here.pins.get(name) != version and _is_denied(name)]
    if wrong:
        raise RequirementError(
            f"What is asked for brings {troubles.listed(wrong)}, which may not be installed on this server "
            "(FUNCTIONS_PACKAGES).",
            code="not_allowed",
        )


def check_allowed(resolved: Resolved) -> None:
    """Checks a set that was resolved elsewhere against ``FUNCTIONS_PACKAGES``. Raises ``RequirementError``."""
    here = ground()
    _check_asked(_wanted(resolved.requirements), here)
    _check_found(resolved, here)


def check_asked(requirement: str) -> None:
    """Checks one requirement against ``FUNCTIONS_PACKAGES``, and asks nobody. Raises ``RequirementError``."""
    _check_asked(_wanted([requirement]), ground())


def is_met(requirement: str) -> bool:
    """Returns whether functions find what is required without asking for it, and asks nobody for that.

    Raises ``RequirementError`` for what is no requirement.
    """
    here = ground()
    return all(here.has(wanted) for wanted in _wanted([requirement]))


def _is_denied(name: str) -> bool:
    return _matches(name, settings.FUNCTIONS_PACKAGES.get("deny", ()))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, re.sub(r"[-_.]+", "-", pattern).lower()) for pattern in patterns)


def stored(row: Row) -> Resolved:
    """Returns what was resolved once, from the row that keeps it; nothing is asked anew."""
    return _resolved(row.requirements, row.lock, "complete" if row.kind == "complete" else "overlay")


def is_current(row: Row) -> bool:
    """Returns whether a stored set is for this Python and, if it is laid over them, for these base packages."""
    if row.digest != digest_of(row.lock):
        return False
    return row.kind == "complete" or row.lock.startswith(f"{_OVER}{ground().digest}\n")


def kind_of(text: str) -> Kind | None:
    """Returns as what a lock of ours is used; None for another one."""
    return "complete" if text.startswith(_COMPLETE) else "overlay" if text.startswith(_OVER) else None


def digest_of(lock: str) -> str:
    """Returns what a directory is named by: 32 digits of the SHA-256 of lock and interpreter."""
    return hashlib.sha256(f"{lock}\0{python_tag()}".encode()).hexdigest()[:32]


def packages_of(text: str) -> dict[str, str]:
    """Returns normalised names and versions of a lock."""
    return {name: re.split(r"[\s;\\]", entry.partition("==")[2], maxsplit=1)[0] for name, entry in _entries(text)}


def _entries(text: str) -> list[tuple[str, str]]:
    """Returns the packages of a lock: normalised name, and its lines."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(==.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return [(canonicalize_name(name), name + rest) for name, rest in found]
