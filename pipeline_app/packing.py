"""Packages on their way between servers: a version's set packed for a bundle, and a packed one made ready here."""

from __future__ import annotations

from pathlib import Path

from functions_app import lock
from functions_app.models import Environment, FunctionVersion
from functions_app.models.environment import requirement_key
from functions_app.runtime import Packed, RequirementError
from pipeline_app.clearing import make_room
from pipeline_app.runners import environments
from pipeline_app.runners.environments import INSTALL_COMMAND, Resolved
from pipeline_app.runners.environments.locks import check_allowed, digest_of, kind_of, packages_of
from pipeline_app.runners.environments.uv import Say, silent
from pipeline_app.runners.environments.wheels import fetch


def pack(version: FunctionVersion, folder: Path, say: Say) -> Packed | None:
    """Puts the wheels of a version's packages into an empty folder; None when it asks for none.

    Raises ``RequirementError``.
    """
    requirements = version.requirements
    if not requirements:
        return None
    environment, python, base = version.environment, environments.python_tag(), environments.ground_digest()
    if environment is None:
        if version.manifest is None:
            raise RequirementError(
                f"What {version} asks for was never resolved, so there is no lock of it. Publish it, then export again."
            )
        return Packed(tuple(requirements), "none", "", python, base, folder)
    if not environment.lock or environment.python != python or environment.base not in ("", base):
        raise RequirementError(
            f"What {version} asks for is not locked for this Python and these base packages. "
            f"Run {INSTALL_COMMAND} {version.function_id}, then export again."
        )
    fetch(environment.lock, folder, say)
    return Packed(tuple(requirements), environment.kind, environment.lock, python, environment.base, folder)


def pack_base(folder: Path, say: Say) -> Packed:
    """Puts the wheels of the base packages into an empty folder. Raises ``RequirementError``."""
    base = environments.base_packages()
    text = base.lock.read_text()
    fetch(text, folder, say)
    return Packed((), "base", text, environments.python_tag(), environments.ground_digest(), folder)


def adopt(version: FunctionVersion, packed: Packed, say: Say) -> None:
    """Gives a version a packed set, built from its wheels and nothing else. Raises ``RequirementError``."""
    if sorted(set(packed.requirements)) != sorted(set(version.requirements)):
        raise RequirementError(
            "The packages that come with it are not those that its code asks for: the bundle was put together wrongly. "
            "Export it again."
        )
    python = environments.python_tag()
    if packed.python != python:
        raise RequirementError(
            f"The packages in the bundle are for {packed.python[:60]}, and this server runs {python}. Export on a "
            "server with the same Python and platform."
        )
    resolved = _resolved(packed)
    if packed.base != environments.ground_digest() if resolved is None else not environments.is_current(resolved):
        raise RequirementError(
            "The packages in the bundle go with other base packages than this server has. Export and import with the "
            "same release of the server and the same runner."
        )
    if resolved is not None:
        check_allowed(resolved)
        version.link(install(resolved, say, wheels=packed.wheels))


def adopt_base(packed: Packed, say: Say) -> None:
    """Builds the base packages of this server from their wheels. Raises ``RequirementError``."""
    base = environments.base_packages()
    if packed.lock != base.lock.read_text():
        raise RequirementError(
            f"The base packages in the bundle are not those that {base.lock.name} of this server lists. Export and "
            "import with the same release of the server."
        )
    environments.build_base(say, wheels=packed.wheels)


def install(resolved: Resolved, say: Say = silent, *, wheels: Path | None = None) -> Environment | None:
    """Builds a set of packages where it is missing and returns its row, ready; None when the base packages do.

    ``wheels`` is a folder that stands in the place of any index. Raises ``RequirementError``; a set that has no row yet
    gets none then.
    """
    if not resolved.digest:
        return None
    row = Environment.objects.filter(digest=resolved.digest).first()
    if row is not None and row.state != Environment.State.READY:
        row.begin()  # so that nobody removes its folder while it is built
    try:
        if not environments.path_of(resolved.digest).is_dir():
            make_room()
        environments.build(resolved, say, wheels=wheels)
    except RequirementError as error:
        if row is not None:
            row.failed(error.code, str(error), error.log)
        raise
    if row is None:
        row = _row(resolved, is_ours=wheels is None)
    row.ready(environments.size_of(resolved.digest))
    return row


def _row(resolved: Resolved, *, is_ours: bool) -> Environment:
    """Returns the row of a set. What others locked is not found again by what it was locked for: whoever makes a bundle
    says what is in it, and must not choose the packages of functions that come from somebody else."""
    key = requirement_key(resolved.requirements, environments.python_tag()) if is_ours else ""
    row, _ = Environment.objects.get_or_create(
        digest=resolved.digest,
        defaults={
            "requirements": resolved.requirements,
            "key": key,
            "lock": resolved.lock,
            "kind": resolved.kind,
            "packages": resolved.packages,
            "python": environments.python_tag(),
            "base": environments.ground_digest() if resolved.kind == "overlay" else "",
        },
    )
    return row


def _resolved(packed: Packed) -> Resolved | None:
    """Returns a packed set as one that was resolved here; None when the base packages are all it needs."""
    if packed.kind not in ("overlay", "complete"):
        return None
    try:
        pinned = {pin.name for pin in lock.read(packed.lock)}
    except ValueError as error:
        raise RequirementError(str(error), code="malformed") from None
    kind, packages = kind_of(packed.lock), packages_of(packed.lock)
    # A package in a line that is set in, say, is installed as any other, and would be checked against no rule.
    if kind is None or kind != packed.kind or pinned != packages.keys():
        raise RequirementError("The lock in the bundle was not written by this server's release.", code="malformed")
    return Resolved(list(packed.requirements), packed.lock, kind, digest_of(packed.lock), packages)
