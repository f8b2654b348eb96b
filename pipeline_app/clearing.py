"""Makes room for packages of functions: what nobody uses goes after a while, and earlier where all take too much."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db.models import ProtectedError
from django.utils import timezone

from functions_app.models import Environment
from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from pipeline_app.runners.environments import folders

logger = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
UNTOUCHED = timedelta(hours=2)
"""After how long a set counts as unused when room is needed: servers touch what serves once an hour, those of other
installations with the same folder too."""


def clean(days: float | None = None) -> list[Path]:
    """Removes sets that nobody used for so many days, and what killed builds left; returns the folders that went.

    A folder that another installation uses has been touched by it, and stays. 0 days keep everything.
    """
    environments.sweep()
    days = settings.FUNCTIONS_ENVIRONMENT_DAYS if days is None else days
    if not days:
        return []
    before = timezone.now() - timedelta(days=days)
    gone = []
    for row in Environment.objects.unused(before):
        if environments.path_of(row.digest).is_dir() and environments.remove(
            row.digest, partial(_is_unused, row.digest, before)
        ):
            gone.append(environments.path_of(row.digest))
        if row.size and not environments.path_of(row.digest).is_dir():
            Environment.objects.filter(pk=row.pk).unused(before).update(size=0)
    for row in Environment.objects.needless(before):
        with suppress(ProtectedError):  # a version has just come to it
            row.delete()
    # What no row tells of: of a database that is gone, or of another machine's.
    for path in _old("set-*", before):
        digest = path.name.removeprefix("set-")
        if environments.remove(digest, partial(_is_unused, digest, before)):
            gone.append(path)
    current = environments.base_packages().path
    for path in _old("base-*", before):
        if path != current and folders.remove(path, partial(_is_old, path, before)):
            gone.append(path)
    for path in _old(".bundle.*", timezone.now() - timedelta(days=1)):
        shutil.rmtree(path, ignore_errors=True)
    return gone


def make_room() -> None:
    """Lets a set be built only where all together take less than ``FUNCTIONS_ENVIRONMENTS_MB``.

    Before it refuses, what nobody uses goes, the oldest first. Raises ``RequirementError``.
    """
    limit = settings.FUNCTIONS_ENVIRONMENTS_MB * MEGABYTE
    if not limit or taken() < limit:
        return
    before = timezone.now() - UNTOUCHED
    for path in sorted(_old("set-*", before), key=lambda path: path.stat().st_mtime):
        digest = path.name.removeprefix("set-")
        if environments.remove(digest, partial(_is_unused, digest, before)):
            logger.info("Removed %s, which nobody uses, to make room for others", path)
            Environment.objects.filter(digest=digest).update(size=0)
            if taken() < limit:
                return
    raise RequirementError(
        f"The packages of functions take {taken() / MEGABYTE:.0f} MB on this machine, and together they may take "
        f"{settings.FUNCTIONS_ENVIRONMENTS_MB:g} (FUNCTIONS_ENVIRONMENTS_MB). What nobody has used for two hours has "
        "gone already. Delete functions that need packages of their own, or raise the setting, then try again.",
        code="no_room",
    )


def taken() -> int:
    """Returns the bytes of all packages of functions, those that several sets have counted once."""
    found: dict[tuple[int, int], int] = {}
    for kind in ("set-*", "base-*"):
        for folder in settings.FUNCTIONS_ENVIRONMENTS.glob(kind):
            for parent, _, names in os.walk(folder):
                for name in names:
                    with suppress(OSError):  # it goes meanwhile
                        file = os.lstat(os.path.join(parent, name))
                        found[file.st_dev, file.st_ino] = file.st_size
    return sum(found.values())


def _is_unused(digest: str, before: datetime) -> bool:
    """Whether a set may go: nobody here needs it, and nobody anywhere has touched its folder."""
    rows = Environment.objects.filter(digest=digest)
    path = environments.path_of(digest)
    return _is_old(path, before) and rows.count() == rows.unused(before).count()


def _old(pattern: str, before: datetime) -> list[Path]:
    return [path for path in sorted(settings.FUNCTIONS_ENVIRONMENTS.glob(pattern)) if _is_old(path, before)]


def _is_old(path: Path, before: datetime) -> bool:
    try:
        return path.stat().st_mtime < before.timestamp()
    except OSError:
        return False
