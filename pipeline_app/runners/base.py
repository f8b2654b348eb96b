"""The seam between the server and whatever runs author code.

A runner gets everything as data and gives everything back as data. Nothing above this module may
know which runner is in use.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from functions_app.policy import Policy, is_enough
from pipeline_app.errors import FunctionUnavailable

if TYPE_CHECKING:
    from pipeline_app.runners.attestation import Attestation

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
    packages: tuple[str, ...] = ()
    """Folders of its own requirements below ``FUNCTIONS_ENVIRONMENTS``, looked at after the base packages."""
    environment: str = ""
    """A folder there with all that it finds installed, in place of the base packages: its requirements conflict."""

    key: str = field(init=False, repr=False, compare=False)
    """What a loaded version is kept under: equal keys mean equal code and packages, and the same import rule."""

    def __post_init__(self) -> None:
        rule = ",".join(f"{kind}={sorted(names)}" for kind, names in self.policy.imports.items())
        key = f"{self.function_id}:{self.sha256}:{self.epoch}:{rule}"
        key = f"{key}:{self.environment}:{self.packages}" if self.packages or self.environment else key
        object.__setattr__(self, "key", key)

    @property
    def folders(self) -> tuple[str, ...]:
        """All folders of packages that are its own."""
        return (self.environment, *self.packages) if self.environment else self.packages


class Identity(NamedTuple):
    """For whom a function asks something of the server: what the server knows, never what a message says."""

    caller: Any
    """The person behind the request, None when the server itself calls."""
    policy: Policy
    function_id: str
    hook: str
    task: Any = None
    """The call that asks (``Task``); None where there is none."""


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
    caller: Any = None
    """The person behind the request (``snapshot.Person``), for what the function asks of the server; not sent to it."""
    record: Any = None
    """The record (``runs.Record``) of the request that it is made for, from when it begins; not sent either."""
    depth: int = 0
    """How many calls of models it is within: 0 for the request's own."""
    id: str = field(default_factory=lambda: f"call-{next(_numbers)}")
    """Tells the call apart within this process."""


@dataclass(slots=True)
class Outcome:
    """How a call ended: its value (None for a stream), the metadata as the hook left it, what it cost and printed.

    ``wall``, ``cpu`` and ``queue`` (the wait for a place before it began) are seconds; CPU is exact for sync
    hooks, else the call's share of what its worker used, None where nobody measured it. ``memory_mb`` is the
    worker's memory at the end, ``exit`` a sentence when the call was stopped or its worker ended.
    """

    value: Any = None
    metadata: Json | None = None
    wall: float = 0.0
    cpu: float | None = None
    output: list[Json] = field(default_factory=list)
    queue: float = 0.0
    memory_mb: float | None = None
    exit: str | None = None
    profile: list[Json] | None = None
    """Where its time went (``worker.profile``), when the context asked for it."""


@dataclass(slots=True)
class Checked:
    """What a worker says of a source: of its text, and of the function once it is loaded.

    ``reading`` is ``worker.checking.read``'s, None when the process that read the source did not get to its end:
    ``crash`` says why. ``look`` is ``worker.checking.look_at``'s, None when the source does not load: ``error`` is
    the load error, None too when loading was not tried because of what the text said.
    """

    reading: Json | None = None
    crash: str = ""
    look: Json | None = None
    error: Json | None = None

    @property
    def is_worth_loading(self) -> bool:
        """Whether the text has what loading needs: Python can read it, and there is a class."""
        found = self.reading
        return found is not None and found["parsed"] and all(one["code"] != "no-class" for one in found["findings"])


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
    """What stands between author code and the server: a level of ``functions_app.policy.ISOLATION_LEVELS``."""
    one_loop: bool = False
    """Whether it may only be used on the loop that it was opened on."""
    attestation: Attestation | None = None
    """What the level was computed from; None while, or where, there is nothing to attest."""

    async def open(self) -> None:
        """Makes the runner ready before the first call. Calling it again does nothing, and calling it never is fine."""
        return None

    @abstractmethod
    async def prepare(self, code: Code) -> Worker:
        """Makes a version ready and returns the worker that holds it. Raises ``FunctionUnavailable``.

        It is unavailable when it does not load, when its policy wants more isolation than there is, or while its
        breaker is open.
        """

    @abstractmethod
    async def inspect(self, code: Code) -> Json:
        """Loads a version aside and returns its manifest. Raises ``functions_app.runtime.LoadError``."""

    @abstractmethod
    async def read(self, code: Code) -> Json:
        """Reads a source aside, none of which is run, and returns what ``worker.checking.read`` says of it.

        Raises ``functions_app.runtime.LoadError`` when the process that reads it does not get to its end.
        """

    @abstractmethod
    async def validate(self, code: Code, scope: Scope, values: Json) -> Json:
        """Returns the explicitly set values as the function's own model keeps them.

        Raises ``functions_app.runtime.InvalidValves`` or ``LoadError``.
        """

    @abstractmethod
    async def options(self, code: Code, scope: Scope, user: Json | None) -> Json | None:
        """Returns the JSON schema of a scope with dynamic options resolved; None when it has none."""

    @abstractmethod
    async def check(self, code: Code) -> Checked:
        """Reads and loads a source aside, in a process that serves nobody, and returns what is to be said of it.

        Whatever the source does to that process is an answer. Raises ``FunctionUnavailable`` where there is none to
        be had, and ``Busy`` when more is checked already than may be at a time.
        """

    @abstractmethod
    async def call(self, worker: Worker, task: Task) -> Outcome:
        """Calls a hook that returns one value. Raises ``FunctionError``; cancelling the caller stops the function.

        Beyond the policy's ``concurrency`` a call waits for a place, and is refused with ``Busy`` after a while.
        """

    @abstractmethod
    def stream(self, worker: Worker, task: Task) -> Stream:
        """Calls ``pipe`` and returns its answer as it comes. Iterating raises ``FunctionError``."""

    @abstractmethod
    async def cancel(self, task_id: str) -> bool:
        """Stops a call by its id; False when no such call runs."""

    @abstractmethod
    def forget(self, function_id: str | None = None) -> None:
        """Drops what is loaded of one function, or of all; calls under way keep their workers."""

    def state(self, function_id: str) -> Json:
        """Returns ``{"workers": [...], "breaker": {...} | None}`` of a function, for people who look after it.

        A worker is ``{"version", "pid", "calls", "memory_mb", "cpu", "idle_s", "retired"}``; an open breaker is
        ``{"reason", "opened_at", "until"}`` with times in epoch seconds.
        """
        return {"workers": [], "breaker": None}

    @abstractmethod
    async def close(self) -> None:
        """Stops everything and frees what the runner holds."""

    def require_isolation(self, code: Code) -> None:
        """Raises ``FunctionUnavailable`` when a function's policy wants more isolation than this runner gives."""
        wanted = code.policy.min_isolation
        if not is_enough(self.isolation, wanted):
            message = (
                f"its policy wants the isolation level '{wanted}' (min_isolation) and this server gives "
                f"'{self.isolation}'. Lower the policy's level, or run the server where the layers for it exist."
            )
            raise FunctionUnavailable(code.function_id, "load", message, code="isolation")
