"""Keeps the packages of functions in order on this machine: what serves is there, and what nobody uses goes.

One process of a machine does that at a time. What it builds, and where, is a matter of this machine; which set belongs
to which version is a matter of the installation.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from functions_app import generation
from functions_app.fields import UndecryptableValves
from functions_app.models import Environment, FunctionVersion
from functions_app.runtime import InvalidValves, LoadError, RequirementError, ShuttingDown
from pipeline_app import packing, preparing
from pipeline_app.clearing import clean
from pipeline_app.database import in_database
from pipeline_app.runners import environments

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

SECONDS = 3600.0
"""How often a server looks; also, how often it says that what serves is in use."""
FAILURES = (RequirementError, LoadError, InvalidValves, UndecryptableValves)
"""What keeps a version from its packages, each a sentence."""


given_up: set[uuid.UUID] = set()
"""Versions whose packages this process could not get: it tries once, and then waits for somebody to ask for them."""
no_base = ""
"""Why it could not get the base packages, the same way."""


async def keep() -> None:
    """Looks at once and then every hour, until cancelled."""
    while True:
        try:
            await in_database(attend)
        except ShuttingDown:
            return
        except Exception:  # it outlives whatever the database and the disk do
            logger.exception("Looking after the packages of functions failed; trying again in an hour")
        await asyncio.sleep(SECONDS)


def attend() -> None:
    """Builds what is missing of what serves and removes what nobody uses, unless another process is at that."""
    with _alone() as mine:
        if not mine:
            return
        lay_ground()
        for version in missing():
            if version.pk in given_up:
                continue
            try:
                restore(version)
                logger.info("The packages of %s are installed here now", version)
            except FAILURES as error:
                given_up.add(version.pk)
                logger.error("%s serves, but its packages can't be had here: %s", version, error)
        use()
        for path in clean():
            logger.info("Removed %s, which nobody used for %g days", path, settings.FUNCTIONS_ENVIRONMENT_DAYS)


def lay_ground() -> None:
    """Builds the base packages where they are missing, as after an update of Python."""
    global no_base
    if no_base or environments.base_path() is not None:
        return
    logger.warning("The base packages of functions are not installed for this Python; installing them now")
    try:
        path = environments.build_base()
    except RequirementError as error:
        if error.code == "stopped":
            raise ShuttingDown(str(error)) from error
        no_base = str(error)
        logger.error("Functions run without the base packages. %s", error)
        return
    # Whatever was loaded without them is loaded again.
    generation.start_afresh()
    logger.warning("The base packages of functions are installed in %s", path)


def base_trouble() -> str:
    """Returns what is wrong with the base packages on this machine, and what to do; empty when nothing is."""
    if environments.base_path() is not None:
        return ""
    return no_base or (
        "The base packages of functions are not installed for this Python. A server that has just started does that by "
        f"itself and may be at it; otherwise run {environments.INSTALL_COMMAND}."
    )


# --- What serves ---------------------------------------------------------------------------------


def serving() -> QuerySet[FunctionVersion]:
    """Returns the versions that serve, with their functions and environments."""
    live = FunctionVersion.objects.filter(state=FunctionVersion.State.LIVE)
    return live.select_related("function", "environment").order_by("function")


def missing() -> list[FunctionVersion]:
    """Returns the versions that serve and whose packages are not on this machine, for this Python."""
    with_sets = serving().exclude(environment=None)
    return [version for version in with_sets if not is_there(version)]


def is_there(version: FunctionVersion) -> bool:
    """Whether the packages of a version are on this machine, for this Python and over these base packages."""
    row = version.environment
    return row is None or (environments.is_current(row) and environments.path_of(row.digest).is_dir())


def restore(version: FunctionVersion) -> None:
    """Builds the packages of a version that serves, which may be others for another Python. Raises ``FAILURES``."""
    before = version.environment_id
    row = preparing.prepare(version)
    if (row and row.pk) == before:
        generation.changed(generation.FUNCTIONS)  # whoever found them missing looks again
    else:
        version.refit()


def upgrade(version: FunctionVersion) -> bool:
    """Finds the newest packages that a version that serves asks for, and lets it serve with those if it loads.

    Returns whether these are others than before. Raises ``FAILURES``; then it goes on as it was.
    """
    before = version.environment_id
    version.environment = packing.install(environments.resolve(version.requirements))
    if version.environment_id == before:
        return False
    return version.refit() and version.environment_id != before


def use() -> None:
    """Notes in the database and on the disk that what serves is in use."""
    Environment.objects.use()
    paths = [environments.path_of(digest) for digest in _digests()]
    for path in [environments.base_packages().path, *paths]:
        with suppress(OSError):
            os.utime(path)


def _digests() -> set[str]:
    return set(serving().exclude(environment=None).values_list("environment__digest", flat=True))


@contextmanager
def _alone() -> Iterator[bool]:
    """Holds whether this process is the one of this machine that looks after the folder."""
    folder: Path = settings.FUNCTIONS_ENVIRONMENTS
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / ".upkeep").open("a+b")
    except OSError as error:  # a disk that can only be read: somebody else looks after it
        logger.info("%s is not looked after from here: %s", folder, error.strerror)
        yield False
        return
    with file:
        mine = True
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                mine = False
        yield mine
