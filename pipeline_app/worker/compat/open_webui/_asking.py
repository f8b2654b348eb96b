"""Methods that ask the server, for callers that await them and for callers that do not."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Generator
from typing import Any, NoReturn, TypeVar

from pipeline_app.worker.hosts import Host, current_host

from ._awaited import is_awaited

T = TypeVar("T")

Asking = Generator[tuple[str, dict[str, Any]], Any, Any]
"""A method's course: it yields host calls as (method, parameters), is sent their answers, and returns its result."""


def asks(method: Callable[..., Asking]) -> Callable[..., Any]:
    """Makes a method of its course: a coroutine where the caller awaits it, else the result itself.

    A synchronous caller waits for the answer, on the loop's own thread too.
    """

    @functools.wraps(method)
    def ask(*args: Any, **kwargs: Any) -> Any:
        course, host = method(*args, **kwargs), current_host()
        return _later(course, host) if is_awaited(sys._getframe(1)) else _now(course, host)

    return ask


def _now(course: Asking, host: Host) -> Any:
    try:
        question = next(course)
        while True:
            question = course.send(host.call_sync(*question))
    except StopIteration as end:
        return end.value


async def _later(course: Asking, host: Host) -> Any:
    try:
        question = next(course)
        while True:
            question = course.send(await host.call(*question))
    except StopIteration as end:
        return end.value


class Table:
    """A table of Open WebUI; what is not offered of it says so when it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> NoReturn:
            kind = type(self)
            raise NotImplementedError(f"{kind.__module__}: {kind.__name__}.{name}() is not available here.")

        return missing


class Awaitable:
    """What may be awaited although it is there already, by callers that got it from a function in between."""

    def __await__(self: T) -> Generator[Any, None, T]:
        yield from ()
        return self


class Rows(list[Any], Awaitable):
    """A list of rows."""
