"""How a version comes to its packages: looked for, locked, built, and each step written down for whoever waits.

The row of a set is the record of its building. It is made before uv is asked anything, so that its log can be followed,
and it keeps what went wrong until somebody asks for the set again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from functions_app.models import Environment, FunctionVersion
from functions_app.runtime import RequirementError, ShuttingDown
from pipeline_app.clearing import make_room
from pipeline_app.runners import environments
from pipeline_app.runners.environments import Resolved
from pipeline_app.runners.environments.locks import check_allowed

TELL_SECONDS = 0.5
"""How often the log of a row is written while it grows."""


stopping = False
"""Whether the server of this process stops: nothing is begun any more."""


class Attempt:
    """A set on its way: what is said about it is written into its row, which is made when there is something to say."""

    def __init__(
        self, version: FunctionVersion | None, requirements: list[str], row: Environment | None = None
    ) -> None:
        self._version, self._requirements, self._row = version, requirements, row
        self._lines: list[str] = []
        self._written = 0.0

    @property
    def row(self) -> Environment:
        if self._row is None:
            self.continue_as(Environment.objects.attempt(self._requirements, environments.python_tag()))
        assert self._row is not None
        return self._row

    def continue_as(self, row: Environment) -> None:
        """Another row has the record from now on; the one before goes, unless others need it."""
        self.flush()
        before, self._row = self._row, row
        if self._version is not None:
            self._version.link(row)
        if before is not None and before.pk != row.pk:
            before.discard(row)

    def say(self, sentence: str) -> None:
        if sentence.strip():
            self._lines.append(sentence.rstrip())
        if self._lines and time.monotonic() - self._written > TELL_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self.row.say(lines)
            self._written = time.monotonic()

    def resolve(self) -> Resolved:
        """Returns what the requirements mean today. Raises as ``prepare`` does."""
        with self._kept():
            return environments.resolve(self._requirements, self.say)

    def check(self, resolved: Resolved) -> None:
        """Checks what was locked before against what may be installed today. Raises ``RequirementError``.

        That is no failure of a set that is ready, with which others may run.
        """
        with nullcontext() if self.row.state == Environment.State.READY else self._kept():
            check_allowed(resolved)

    def build(self, resolved: Resolved) -> Environment:
        """Builds what was resolved, and returns its row. Raises as ``prepare`` does."""
        row = self.row
        there = is_there(row)
        if not there and row.state != row.State.BUILDING:
            row.begin()
        with self._kept():
            if not there:
                make_room()
            environments.build(resolved, self.say)
            size = row.size if there and row.size else environments.size_of(resolved.digest)
        self.flush()
        row.ready(size)
        return row

    def nothing_needed(self) -> None:
        """Everything is among the base packages."""
        self._lines.clear()
        if self._row is not None:
            self._row.discard()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keeps in the row why a step of it failed."""
        if stopping:
            raise ShuttingDown("The server stops.")
        try:
            yield
        except RequirementError as error:
            self.flush()
            if error.code == "stopped":
                raise ShuttingDown(str(error)) from error
            self.row.failed(error.code, str(error), error.log)
            raise


def prepare(version: FunctionVersion, before: Callable[[], None] | None = None) -> Environment | None:
    """Makes the packages of a version, saved or not, available; returns their set, None when it needs none of its own.

    What was locked once is not resolved again. The version is linked to the set as soon as that has a record.
    ``before`` is called where something is to be resolved or built, before that. Raises ``RequirementError``, and
    ``ShuttingDown`` when the server stops.
    """
    requirements = version.requirements
    if not requirements:
        return None
    python, base = environments.python_tag(), environments.ground_digest()
    row = Environment.objects.wanted_by(version, requirements, python, base)
    if before is not None and not (row is not None and is_there(row)):
        before()
    if row is not None:
        version.link(row)
    return _made(Attempt(version, requirements, row), row)


def build(row: Environment) -> Environment | None:
    """Builds a set without a version that waits for it; returns as what, and raises, as ``prepare`` does."""
    if not row.lock:
        row.begin()
    return _made(Attempt(None, row.requirements, row), row)


def _made(attempt: Attempt, row: Environment | None) -> Environment | None:
    if row is not None and row.lock:
        resolved = environments.stored(row)
        attempt.check(resolved)
        return attempt.build(resolved)
    resolved = attempt.resolve()
    if resolved.kind == "none":
        attempt.nothing_needed()
        return None
    base = environments.ground_digest()
    attempt.flush()
    attempt.continue_as(attempt.row.locked(resolved.lock, resolved.digest, resolved.kind, resolved.packages, base))
    return attempt.build(resolved)


def is_there(row: Environment) -> bool:
    """Whether a set is built on this machine."""
    return bool(row.digest) and environments.path_of(row.digest).is_dir()
