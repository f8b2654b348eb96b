"""Methods that ask the server, for callers that await them and for callers that do not."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType, MethodType
from typing import Any, ClassVar, NoReturn, TypeVar

from pipeline_app.worker.hosts import Host, HostError, current_host

from ._awaited import is_awaited

T = TypeVar("T")

Asking = Generator[tuple[str, dict[str, Any]], Any, Any]
"""A method's course: it yields host calls as (method, parameters), is sent their answers, and returns its result."""


class _Method:
    """A method of a table, as it was taken in a call: it asks for that call also from threads that know of none."""

    __slots__ = ("_host", "_method", "_table")

    def __init__(self, table: Any, method: Callable[..., Asking]) -> None:
        self._table = table
        self._method = method
        self._host = _host()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        course, host = self._method(self._table, *args, **kwargs), _host() or self._host
        return _later(course, host) if is_awaited(sys._getframe(1)) else _now(course, host)

    @property
    def __self__(self) -> Any:
        return self._table

    @property
    def __wrapped__(self) -> Callable[..., Asking]:
        return self._method

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(MethodType(self._method, self._table))

    @property
    def __name__(self) -> str:
        return self._method.__name__

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self._method.__doc__

    def __repr__(self) -> str:
        return f"<{self._method.__module__}.{self._method.__qualname__}>"


class asks:
    """Makes a method, or a function, of its course: a coroutine where the caller awaits it, else the result itself.

    A synchronous caller waits for the answer, on the loop's own thread too. A course that asks for nothing works
    also where nobody can be asked: while a module loads.
    """

    __wrapped__: Callable[..., Asking]

    def __init__(self, course: Callable[..., Asking]) -> None:
        functools.update_wrapper(self, course)
        self._course = course

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        course, host = self._course(*args, **kwargs), _host()
        return _later(course, host) if is_awaited(sys._getframe(1)) else _now(course, host)

    def __get__(self, table: Any, kind: type | None = None) -> Any:
        return self if table is None else _Method(table, self._course)


def answers(method: Callable[..., Any]) -> asks:
    """Makes a method that asks nobody one for both kinds of callers."""

    @functools.wraps(method)
    def course(*args: Any, **kwargs: Any) -> Asking:
        yield from ()
        return method(*args, **kwargs)

    return asks(course)


def _host() -> Host | None:
    """Returns whom the running call may ask, found now: what is awaited later may run in another context."""
    try:
        return current_host()
    except HostError:
        return None


def can_ask() -> bool:
    """Returns whether the server can be asked: not while a module loads, when there is nobody to ask for."""
    return _host() is not None


def _now(course: Asking, host: Host | None) -> Any:
    try:
        question = next(course)
        while True:
            try:
                answer = (host or current_host()).call_sync(*question)
            except HostError as error:
                question = course.throw(error)
            else:
                question = course.send(answer)
    except StopIteration as end:
        return end.value


async def _later(course: Asking, host: Host | None) -> Any:
    try:
        question = next(course)
        while True:
            try:
                answer = await (host or current_host()).call(*question)
            except HostError as error:
                question = course.throw(error)
            else:
                question = course.send(answer)
    except StopIteration as end:
        return end.value


class Table:
    """A table of Open WebUI. What there is of it there and not here says so, and why, when it is called."""

    elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Methods that are not offered: their names, separated by spaces, and what to do instead, as a sentence."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        kind = type(self)
        place = f"{kind.__module__}: {kind.__name__}"
        why = next((why for names, why in self.elsewhere.items() if name in names.split()), None)
        if why is None:
            there = ", ".join(sorted(name for name in dir(kind) if not name.startswith("_") and name != "elsewhere"))
            raise AttributeError(f"{place} has no {name!r}; it has {there}.", name=name, obj=self)

        def missing(*args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError(f"{place}.{name}() is not available here. {why}")

        return missing


class Awaitable:
    """What may be awaited although it is there already, by callers that got it from a function in between."""

    def __await__(self: T) -> Generator[Any, None, T]:
        yield from ()
        return self


class Rows(list[Any], Awaitable):
    """A list of rows."""


class Facts(dict[str, Any], Awaitable):
    """A dict of facts."""


class Words(str, Awaitable):
    """Text."""


class Page(Rows):
    """Rows of many: the list that it was in older releases, and the object with parts that it is today."""

    def __init__(self, rows: list[Any], total: int | None = None, under: str = "items") -> None:
        super().__init__(rows)
        self.total = len(rows) if total is None else total
        self._under = under

    @property
    def items(self) -> list[Any]:
        """The rows as a plain list."""
        return list(self)

    def __getitem__(self, key: Any) -> Any:
        if key == "total":
            return self.total
        return list(self) if key == self._under else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the rows or their total, as of a dict."""
        return self[key] if key in ("total", self._under) else default
