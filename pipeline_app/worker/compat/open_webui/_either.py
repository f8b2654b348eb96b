"""Functions that ask nobody, for callers that await them and for callers that do not."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Generator
from typing import Any

from ._awaited import is_awaited


def either(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a plain function one that gives a coroutine of its result to a caller who awaits it."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        awaited = is_awaited(sys._getframe(1))
        return _later(function, args, kwargs) if awaited else function(*args, **kwargs)

    return call


async def _later(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


def course(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Generator[tuple[str, dict[str, Any]], Any, Any]:
    """Returns the course of a method that ``asks``, to be gone through within another."""
    made: Any = method
    found: Generator[tuple[str, dict[str, Any]], Any, Any] = made.__wrapped__(made.__self__, *args, **kwargs)
    return found
