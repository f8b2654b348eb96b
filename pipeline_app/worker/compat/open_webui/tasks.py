"""Tasks that go on beside a hook, by id: asyncio's own, in this process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any

from ._asking import Asking, asks

tasks: dict[str, asyncio.Task[Any]] = {}
_items: dict[str, list[str]] = {}


@asks
def create_task(*args: Any, id: Any = None, task_id: str | None = None) -> Asking:
    """Starts a coroutine; returns ``(task_id, task)``. Takes ``(redis, coroutine)`` and the older ``(coroutine)``."""
    yield from ()
    given = [value for value in args if value is not None]
    coroutine = next(value for value in given if isinstance(value, Coroutine))
    rest = [value for value in given if value is not coroutine and isinstance(value, str)]
    item = id or (rest[0] if rest else None)
    named = task_id or str(uuid.uuid4())
    task = asyncio.ensure_future(coroutine)
    tasks[named] = task
    _items.setdefault(str(item), []).append(named)

    def done(_: Any) -> None:
        tasks.pop(named, None)
        left = _items.get(str(item), [])
        if named in left:
            left.remove(named)
        if not left:
            _items.pop(str(item), None)

    task.add_done_callback(done)
    return named, task


@asks
def stop_task(*args: Any) -> Asking:
    """Stops a task; takes ``(redis, task_id)`` and the older ``(task_id)``."""
    yield from ()
    task = tasks.get(str(args[-1]))
    if task is None:
        return {"status": False, "message": f"There is no task {args[-1]}."}
    task.cancel()
    return {"status": True, "message": f"Task {args[-1]} was stopped."}


@asks
def list_tasks(*args: Any) -> Asking:
    """Returns the ids of what runs."""
    yield from ()
    return list(tasks)


@asks
def list_task_ids_by_item_id(*args: Any) -> Asking:
    """Returns the ids of what runs for a chat; takes ``(redis, id)`` and the older ``(id)``."""
    yield from ()
    return list(_items.get(str(args[-1]), ()))
