"""How many calls of a function run at a time: the rest wait in a bounded queue for a while, and are refused then."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from functions_app.policy import Policy
from pipeline_app.errors import Busy
from pipeline_app.runners.base import Code

PATIENCE = 10.0
"""Seconds that a call waits for a place."""


class _Waiting(NamedTuple):
    place: asyncio.Future[None]
    sync: bool
    policy: Policy


class Gate:
    """The places of one function: ``concurrency`` in all, ``sync_concurrency`` of them for hooks that hold a thread."""

    __slots__ = ("_queue", "_running", "_sync")

    def __init__(self) -> None:
        self._running = 0
        self._sync = 0
        self._queue: deque[_Waiting] = deque()

    def enter(self, policy: Policy, sync: bool) -> bool:
        """Takes a place if one is free and nobody waits for it; returns whether it did."""
        if self._queue or not self._free(policy, sync):
            return False
        self._take(sync)
        return True

    async def wait(self, code: Code, hook: str, sync: bool) -> float:
        """Waits for a place; returns the seconds that took. Raises ``Busy``."""
        policy, began = code.policy, time.perf_counter()
        if self.enter(policy, sync):
            return 0.0
        places = policy.sync_concurrency if sync else policy.concurrency
        calls = f"{places} {'sync ' if sync else ''}{'call of it runs' if places == 1 else 'calls of it run'}"
        what = f"{calls}, the most that its policy allows (concurrency)"
        if len(self._queue) >= policy.concurrency:
            raise Busy(code.function_id, hook, f"{what}, and as many wait.", retry_after=PATIENCE)
        waiting = _Waiting(asyncio.get_running_loop().create_future(), sync, policy)
        self._queue.append(waiting)
        self._let_in()  # whoever stands before may wait for a place of the other kind
        try:
            async with asyncio.timeout(PATIENCE):
                await waiting.place
        except BaseException as error:
            if waiting in self._queue:
                self._queue.remove(waiting)
            elif waiting.place.done() and not waiting.place.cancelled():
                self.leave(sync)  # the place came at the last moment, and goes to the next
            if isinstance(error, TimeoutError):
                message = f"{what}, and none ended within {PATIENCE:g} s."
                raise Busy(code.function_id, hook, message, retry_after=PATIENCE) from None
            raise
        return time.perf_counter() - began

    def leave(self, sync: bool) -> None:
        """Gives a place back."""
        self._running -= 1
        self._sync -= sync
        if self._queue:
            self._let_in()

    @property
    def empty(self) -> bool:
        return not self._running and not self._queue

    def _free(self, policy: Policy, sync: bool) -> bool:
        return self._running < policy.concurrency and not (sync and self._sync >= policy.sync_concurrency)

    def _take(self, sync: bool) -> None:
        self._running += 1
        self._sync += sync

    def _let_in(self) -> None:
        kept: deque[_Waiting] = deque()
        while self._queue:
            waiting = self._queue.popleft()
            if waiting.place.done():
                continue
            if self._free(waiting.policy, waiting.sync):
                self._take(waiting.sync)
                # It may wait on another loop than this one.
                waiting.place.get_loop().call_soon_threadsafe(_give, self, waiting)
            else:
                kept.append(waiting)
        self._queue = kept


def _give(gate: Gate, waiting: _Waiting) -> None:
    if waiting.place.done():
        gate.leave(waiting.sync)
    else:
        waiting.place.set_result(None)


class Gates:
    """The gates of all functions, by id: versions of one function share its places."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def of(self, function_id: str) -> Gate:
        gate = self._gates.get(function_id)
        if gate is None:
            if len(self._gates) > 1000:
                self._gates = {name: kept for name, kept in self._gates.items() if not kept.empty}
            gate = self._gates[function_id] = Gate()
        return gate


class Checks:
    """The places for checks of sources, which are nobody's calls: so many in this process, whatever they check."""

    AT_A_TIME = 4
    _rule = Policy(concurrency=AT_A_TIME)

    def __init__(self) -> None:
        self._gate = Gate()

    @asynccontextmanager
    async def place(self, code: Code) -> AsyncIterator[None]:
        """Holds a place. Raises ``Busy`` when none becomes free in time."""
        if not self._gate.enter(self._rule, False):
            try:
                await self._gate.wait(replace(code, policy=self._rule), "check", False)
            except Busy:
                busy = Busy(code.function_id, "check", "", retry_after=PATIENCE)
                busy.message = f"The server makes {self.AT_A_TIME} checks at a time and has as many now; try again."
                raise busy from None
        try:
            yield
        finally:
            self._gate.leave(False)


def is_sync(code: Code, hook: str) -> bool:
    """Returns whether a hook holds a thread while it runs, as inspection found; of a draft nobody knows, so it does."""
    found = code.manifest.get("hooks", {}).get(hook)
    return found is None or not found.get("async")
