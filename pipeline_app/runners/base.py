"""The seam between the server and whatever runs author code.

A runner gets everything as data and gives everything back as data. Nothing above this module may
know which runner is in use.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from functions_app.policy import Policy

Scope = Literal["valves", "user_valves"]
Json = dict[str, Any]

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Code:
    """One version of a function, as a runner needs it. Equal digests of one function mean equal code."""

    function_id: str
    number: int
    sha256: str
    source: str = field(repr=False)
    policy: Policy = field(repr=False)
    manifest: Json = field(repr=False, default_factory=dict)
    version: Any = None
    """The id of the version row; None for code that is not stored."""
    epoch: str = ""
    """What was loaded in another epoch is not used (``functions_app.generation.start_afresh``)."""

    @property
    def key(self) -> str:
        """What a loaded version is kept under: equal keys mean equal code."""
        return f"{self.function_id}:{self.sha256}:{self.epoch}"


@dataclass(slots=True)
class Task:
    """One call of one hook.

    ``payload`` is the body (for ``stream`` a list of events: a batch), ``context`` the data that special
    arguments are made from, ``valves`` the values that were set, ``user_valves`` those of the caller.
    ``on_event`` is told what the function emits, in order with what it yields when the hook is ``pipe``;
    ``ask`` answers ``__event_call__``, None when nobody can be asked.
    ``time_limit`` is for the whole call in seconds, ``first_limit`` until a pipe gives something.
    """

    hook: str
    payload: Any
    context: Json
    valves: Json
    user_valves: Json | None = None
    on_event: Callable[[Json], None] | None = None
    ask: Callable[[Json], Awaitable[Any]] | None = None
    time_limit: float | None = None
    first_limit: float | None = None
    owned: bool = False
    """Whether nobody else needs ``payload`` any more: a runner may hand it over without a copy."""
    id: str = field(default_factory=lambda: f"call-{next(_numbers)}")
    """Tells the call apart within this process."""


@dataclass(slots=True)
class Outcome:
    """How a call ended: its value (None for a stream), the metadata as the hook left it, what it cost and printed."""

    value: Any = None
    metadata: Json | None = None
    wall: float = 0.0
    cpu: float | None = None
    output: list[Json] = field(default_factory=list)


class Worker(ABC):
    """A version made ready, held by a request from its first hook to its last."""

    code: Code

    @abstractmethod
    def release(self) -> None:
        """Lets go: the runner may end the worker when nobody holds it."""


class Stream(ABC):
    """What a pipe answers, while it answers. Iterate once; close when done early."""

    outcome: Outcome

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[list[Any]]:
        """Yields non-empty lists of all items that are ready: text, chunk, ``Event`` or ``Whole``."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stops the function if it still runs, and waits until it has let go."""


class Runner(ABC):
    """Loads versions and calls their hooks, within the limits of their policies."""

    isolation: str
    """What stands between author code and the server, one of the levels of ``design.md`` 6."""

    @abstractmethod
    async def prepare(self, code: Code) -> Worker:
        """Makes a version ready and returns the worker that holds it. Raises ``FunctionUnavailable``."""

    @abstractmethod
    async def inspect(self, code: Code) -> Json:
        """Loads a version aside and returns its manifest. Raises ``functions_app.runtime.LoadError``."""

    @abstractmethod
    async def validate(self, code: Code, scope: Scope, values: Json) -> Json:
        """Returns the explicitly set values as the function's own model keeps them.

        Raises ``functions_app.runtime.InvalidValves`` or ``LoadError``.
        """

    @abstractmethod
    async def options(self, code: Code, scope: Scope, user: Json | None) -> Json | None:
        """Returns the JSON schema of a scope with dynamic options resolved; None when it has none."""

    @abstractmethod
    async def call(self, worker: Worker, task: Task) -> Outcome:
        """Calls a hook that returns one value. Raises ``FunctionError``; cancelling the caller stops the function."""

    @abstractmethod
    def stream(self, worker: Worker, task: Task) -> Stream:
        """Calls ``pipe`` and returns its answer as it comes. Iterating raises ``FunctionError``."""

    @abstractmethod
    async def cancel(self, task_id: str) -> bool:
        """Stops a call by its id; False when no such call runs."""

    @abstractmethod
    def forget(self, function_id: str | None = None) -> None:
        """Drops what is loaded of one function, or of all; calls under way keep their workers."""

    @abstractmethod
    async def close(self) -> None:
        """Stops everything and frees what the runner holds."""
