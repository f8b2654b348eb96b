"""The packages that all functions find installed without asking.

They (``requirements-functions.txt``, locked with hashes) are installed by uv into
``FUNCTIONS_ENVIRONMENTS/base-<digest>``, never among the server's own packages. The digest covers
the lock and the interpreter, so a directory is never wrong, only unused: a changed lock makes a new one.
It is built aside and moved into place, so whoever sees it sees all of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from functions_app.runtime import RequirementError
from pipeline_app.runners.environments import folders, uv
from pipeline_app.runners.environments.uv import Budget, Say

LOCK_NAME = "requirements-functions.txt"
INSTALL_COMMAND = "manage.py install_requirements"
# In every directory of packages: what it is.
NOTE = ".webui-functions.json"


@dataclass(frozen=True, slots=True)
class BasePackages:
    """One set of base packages: the lock they come from and the directory they live in."""

    lock: Path
    path: Path
    # Normalised name to version, as the lock pins them for this interpreter and others.
    pins: dict[str, str]

    @property
    def is_built(self) -> bool:
        """Whether the directory is there; it is complete whenever it is there."""
        return self.path.is_dir()


def python_tag() -> str:
    """Returns interpreter and platform as a name, for example ``cpython-311-linux-x86_64``."""
    return f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"


def base_packages() -> BasePackages:
    """Returns the base packages of this installation, built or not. Raises ``RequirementError`` without a lock file."""
    lock: Path = settings.BASE_DIR / LOCK_NAME
    try:
        text = lock.read_bytes()
    except OSError as error:
        raise RequirementError(
            f"The list of base packages cannot be read: {lock} ({error.strerror}). It belongs beside manage.py; "
            "restore it from the repository."
        ) from error
    digest = hashlib.sha256(text + b"\0" + python_tag().encode()).hexdigest()[:24]
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text.decode(), re.MULTILINE)
    return BasePackages(
        lock=lock,
        path=settings.FUNCTIONS_ENVIRONMENTS / f"base-{digest}",
        pins={re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins},
    )


def base_path() -> Path | None:
    """Returns the directory of the base packages, or None while it is not built."""
    base = base_packages()
    return base.path if base.is_built else None


def build_base(progress: Say | None = None, *, wheels: Path | None = None) -> Path:
    """Returns the directory of the base packages, built first when it is missing.

    May take a minute; processes that ask at the same time wait for the one that builds. ``progress``
    is told a short sentence for every step; ``wheels`` is a folder that stands in the place of any index. Raises
    ``RequirementError`` with uv's own message.
    """
    say = progress or uv.silent
    base = base_packages()
    if base.is_built:
        return base.path
    budget = Budget()

    def fill(aside: Path, held: int) -> None:
        say(f"Installing what {base.lock.name} lists")
        _install(base, aside, held, budget, say, wheels)

    try:
        folders.make(base.path, fill, budget, say)
    except RequirementError as error:
        message = (
            f"The base packages could not be installed from {base.lock.name}. {error}\nWhen that is done, run "
            f"{INSTALL_COMMAND} again; nothing was changed."
        )
        raise RequirementError(message, code=error.code, log=error.log) from error
    return base.path


def add_base_to_path() -> Path | None:
    """Appends the base packages to the end of ``sys.path``, once, and returns their directory; None while not built.

    The end, so that the server's own packages always win: a function can never replace what the server runs on.
    """
    path = base_path()
    if path is not None and str(path) not in sys.path:
        sys.path.append(str(path))
    return path


def _install(base: BasePackages, aside: Path, held: int, budget: Budget, say: Say, wheels: Path | None) -> None:
    install(aside, base.lock.read_text(), budget=budget, say=say, held=held, wheels=wheels)
    # What is found on disk later, by a person who wonders what this directory is.
    write_note(aside, {"lock": LOCK_NAME, "python": python_tag(), "packages": base.pins})


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """Writes into a folder of packages what it is, in the place of a file of that name that a wheel may have brought.

    That one is not written into: it is the same file in uv's cache and in other folders.
    """
    path = folder / NOTE
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(note, indent=1) + "\n")


def install(target: Path, lock: str, *, budget: Budget, say: Say, held: int, wheels: Path | None = None) -> None:
    """Installs what a lock has into a folder: wheels only, each with a hash, nothing that is not in the lock."""
    uv.run(
        ["pip", "install", "--target", str(target), "--requirements", "-", "--require-hashes", "--only-binary", ":all:",
         "--no-deps", "--compile-bytecode"],
        budget=budget, say=say, given=lock, growing=target, held=[held], wheels=wheels,
    )  # fmt: skip
    (target / ".lock").unlink(missing_ok=True)  # uv's own, of no use to anybody
