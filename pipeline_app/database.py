"""The one way from the event loop to the database.

Without Django's request signals nobody closes a connection that PostgreSQL has dropped, and all
ORM calls would share one thread; so each use brings a thread of its own and leaves no connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")


def _with_fresh_connections(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    _close_old_connections()
    try:
        return work(*args, **kwargs)
    finally:
        _close_old_connections()


def _close_old_connections() -> None:
    """Closes what has served its time, as Django does around a request; never under somebody's open transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs ``work`` in a thread that may use the ORM, and returns what it returns."""
    async with ThreadSensitiveContext():
        return await sync_to_async(_with_fresh_connections)(work, *args, **kwargs)
