"""Publishing on behalf of a request, which may end before it.

A request waits so many seconds; what takes longer goes on by itself, in a thread of its own. A server that is
killed meanwhile leaves the version ``building``, and whoever publishes it again begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError

from functions_app.models import FunctionVersion
from pipeline_app.database import in_database

logger = logging.getLogger(__name__)

T = TypeVar("T")

_going: set[asyncio.Task[Any]] = set()
"""What runs; the loop itself keeps no tasks alive."""


class VersionDeleted(Exception):
    """The version, or its whole function, was deleted while it was being published."""


async def begin(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Starts work that goes on without whoever asked for it, and returns it when it has ended or after
    ``FUNCTIONS_PUBLISH_SECONDS``."""
    task = asyncio.create_task(work, name=name)
    _going.add(task)
    task.add_done_callback(_going.discard)
    await asyncio.wait({task}, timeout=settings.FUNCTIONS_PUBLISH_SECONDS)
    return task


def go_on(task: asyncio.Task[Any], name: str, version: FunctionVersion | None = None) -> None:
    """Leaves work to itself; its failure goes to the log. A version given is published when the work has ended."""

    async def rest() -> None:
        await asyncio.wait({task})
        try:
            task.result()
        except Exception as error:
            # That a version does not load is found again, and kept, when it is published.
            if version is None:
                _report(name, error)
        if version is not None:
            try:
                await publish(version)
            except Exception as error:
                _report(name, error)

    following = asyncio.create_task(rest(), name=f"{name}, later")
    _going.add(following)
    following.add_done_callback(_going.discard)


def _report(name: str, error: Exception) -> None:
    if isinstance(error, VersionDeleted):
        logger.info("%s: it was deleted meanwhile", name)
    else:
        logger.error("%s failed; publish the version again", name, exc_info=error)


async def publish(version: FunctionVersion, **along: Any) -> bool:
    """Publishes a version as ``FunctionVersion.publish`` does. Raises ``VersionDeleted``."""
    return await in_database(_publish, version, along)


def _publish(version: FunctionVersion, along: dict[str, Any]) -> bool:
    try:
        return version.publish(**along)
    except (ObjectDoesNotExist, DatabaseError):
        if FunctionVersion.objects.filter(pk=version.pk).exists():
            raise
        raise VersionDeleted(f"Version {version.number} of '{version.function_id}' was deleted.") from None
