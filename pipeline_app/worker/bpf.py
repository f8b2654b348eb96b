"""Puts the rules of a seccomp filter together as a program for the kernel's packet filter machine.

A filter sees the number of a call and its arguments as 64-bit words, of which tests here look at the low half, as
the kernel itself does with the ``int`` and ``unsigned int`` that these arguments are. Memory behind a pointer it
cannot see.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000
KILL = 0x80000000
IGNORE = 0x00050000
"""The call returns 0 and does nothing."""

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_EQUAL, _GREATER, _AT_LEAST, _ANY_BIT = 0x15, 0x25, 0x35, 0x45
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_WORD = 0xFFFFFFFF


def fail(error: int) -> int:
    """Returns the verdict under which a call fails with an error number."""
    return 0x00050000 | error


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value & _WORD)


def _load(argument: int, high: bool = False) -> bytes:
    return _step(_LOAD, _ARGUMENTS + 8 * argument + 4 * high)


@dataclass(frozen=True, slots=True)
class OneOf:
    """The argument, after masking, must be one of the values."""

    argument: int
    values: Sequence[int]
    error: int
    mask: int = _WORD

    def steps(self) -> list[bytes]:
        masked = [_step(_AND, self.mask)] if self.mask != _WORD else []
        return [_load(self.argument), *masked, *_one_of(self.values), _step(_RETURN, fail(self.error))]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """The argument must be none of the values."""

    argument: int
    values: Sequence[int]
    error: int

    def steps(self) -> list[bytes]:
        refused = [
            step for value in self.values for step in (_step(_EQUAL, value, 0, 1), _step(_RETURN, fail(self.error)))
        ]
        return [_load(self.argument), *refused]


@dataclass(frozen=True, slots=True)
class Without:
    """None of the bits may be set in the argument."""

    argument: int
    bits: int
    error: int

    def steps(self) -> list[bytes]:
        return [_load(self.argument), _step(_ANY_BIT, self.bits, 0, 1), _step(_RETURN, fail(self.error))]


@dataclass(frozen=True, slots=True)
class Null:
    """The argument must be a null pointer."""

    argument: int
    error: int

    def steps(self) -> list[bytes]:
        refuse = _step(_RETURN, fail(self.error))
        halves = ([_load(self.argument, high), _step(_EQUAL, 0, 1, 0), refuse] for high in (False, True))
        return [step for half in halves for step in half]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arguments in a row must be a key of the table and one of its values. The last of a call's tests.

    With a key and a value of ``ignored`` the call pretends success.
    """

    argument: int
    table: Mapping[int, Sequence[int]]
    error: int
    ignored: Mapping[int, Sequence[int]]

    def steps(self) -> list[bytes]:
        refuse = _step(_RETURN, fail(self.error))
        steps = [_load(self.argument)]
        for key, values in self.table.items():
            block = [_load(self.argument + 1)]
            for value in self.ignored.get(key, ()):
                block += [_step(_EQUAL, value, 0, 1), _step(_RETURN, IGNORE)]
            block += [*_one_of(values), refuse, _step(_RETURN, ALLOW)]
            steps += [_step(_EQUAL, key, 0, len(block)), *block]
        return [*steps, refuse]


@dataclass(frozen=True, slots=True)
class When:
    """A test that matters only when any of the bits is set in its argument."""

    bits: int
    test: OneOf

    def steps(self) -> list[bytes]:
        tested = self.test.steps()
        return [_load(self.test.argument), _step(_ANY_BIT, self.bits, 0, len(tested)), *tested]


Test = OneOf | NoneOf | Without | Null | Pair | When


def _one_of(values: Sequence[int]) -> list[bytes]:
    """Goes on after the step that follows these when a value fits."""
    return [_step(_EQUAL, value, len(values) - index) for index, value in enumerate(values)]


def program(
    architecture: int,
    first_foreign: int | None,
    tested: Mapping[int, Sequence[Test]],
    verdicts: Mapping[int, int],
    unknown: int,
) -> bytes:
    """Returns the filter.

    ``tested`` are calls that are allowed when all their tests hold, ``verdicts`` what becomes of the others by
    number; a number in neither gets ``unknown``. Another architecture, or a number from ``first_foreign`` on (a
    second call table of the same processor), ends the process.
    """
    steps = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, architecture, 1), _step(_RETURN, KILL), _step(_LOAD, _NUMBER)]
    if first_foreign is not None:
        steps += [_step(_AT_LEAST, first_foreign, 0, 1), _step(_RETURN, KILL)]
    last = max(verdicts)
    steps += [_step(_GREATER, last, 0, 1), _step(_RETURN, unknown)]
    for number, tests in tested.items():
        body = [step for test in tests for step in test.steps()] + [_step(_RETURN, ALLOW)]
        steps += [_step(_EQUAL, number, 0, len(body)), *body]
    # The kernel finds out by itself which numbers are always allowed, and answers those without the program.
    for first, final, verdict in _runs(verdicts, unknown, last, tested):
        if first == final:
            steps += [_step(_EQUAL, first, 0, 1), _step(_RETURN, verdict)]
        else:
            steps += [_step(_AT_LEAST, first, 0, 2), _step(_GREATER, final, 1), _step(_RETURN, verdict)]
    return b"".join([*steps, _step(_RETURN, ALLOW)])


def _runs(
    verdicts: Mapping[int, int], unknown: int, last: int, tested: Iterable[int]
) -> Iterable[tuple[int, int, int]]:
    """Yields neighbouring numbers with the same verdict together, as first, last and verdict; not what is allowed."""
    done = set(tested)
    first, verdict = 0, ALLOW
    for number in range(last + 2):
        # Tested calls have been decided before: they lengthen any run.
        here = verdict if number in done else verdicts.get(number, unknown) if number <= last else ALLOW
        if here != verdict:
            if verdict != ALLOW:
                yield first, number - 1, verdict
            first, verdict = number, here
