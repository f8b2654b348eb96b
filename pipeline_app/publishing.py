"""Publishing on behalf of a request, which may end before it.

A request waits so many seconds; what takes longer goes on by itself, in a thread of its own. It is written down before
it begins, so that another process takes it up when this one ends (``pipeline_app.building``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError

from functions_app.models import FunctionVersion
from functions_app.runtime import ShuttingDown
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
    """Leaves work to itself; its failure goes to the log. A version given, which waits for that, is published when the
    work has ended."""

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
                await in_database(_publish, version.carry_out, version)
            except Exception as error:
                _report(name, error)

    following = asyncio.create_task(rest(), name=f"{name}, later")
    _going.add(following)
    following.add_done_callback(_going.discard)


def going() -> set[asyncio.Task[Any]]:
    """Returns what this process is at."""
    return set(_going)


def _report(name: str, error: Exception) -> None:
    if isinstance(error, VersionDeleted):
        logger.info("%s: it was deleted meanwhile", name)
    elif isinstance(error, ShuttingDown):
        logger.info("%s was not done before the server stopped", name)
    else:
        logger.error("%s failed", name, exc_info=error)


async def published(version: FunctionVersion, **along: Any) -> bool | None:
    """Publishes a version as ``FunctionVersion.publish`` does; returns None when that takes long, and goes on.

    Raises ``VersionDeleted``.
    """
    name = f"Publishing version {version.number} of '{version.function_id}'"
    task = await begin(in_database(_publish, version.publish, version, **along), name)
    if not task.done():
        go_on(task, name)
        return None
    try:
        return task.result()
    except ShuttingDown:
        return None


def _publish(work: Callable[..., bool], version: FunctionVersion, **along: Any) -> bool:
    try:
        return work(**along)
    except (ObjectDoesNotExist, DatabaseError):
        if FunctionVersion.objects.filter(pk=version.pk).exists():
            raise
        raise VersionDeleted(f"Version {version.number} of '{version.function_id}' was deleted.") from None
