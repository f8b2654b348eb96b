"""The items of one streaming call on their way from author code, on any thread, to the consumer on the loop.

Producers append and go on; the consumer takes everything that is there at once and is woken once for it.
With too much outstanding a producer waits: a coroutine on the loop, a thread on a lock.
"""

from __future__ import annotations

import _thread
import asyncio
from collections import deque
from typing import Any

from .threads import port

MOST_ITEMS = 64
MOST_CHARACTERS = 256 * 1024


class Channel:
    """One producer with back-pressure (the pipe), any number without (emitters elsewhere), one consumer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._port = port(loop)
        self._home = _thread.get_ident()
        self._items: deque[Any] = deque()
        self._characters = 0
        self._sleeping = False
        self._wakeup: asyncio.Future[None] | None = None
        self._rooms: list[asyncio.Future[None]] = []
        self._blocked = False
        self._gate = _thread.allocate_lock()
        self._gate.acquire()
        self.finished = False
        self.closed = False

    def put(self, item: Any, characters: int = 0) -> None:
        """Appends an item; dropped when the consumer has gone. From any thread."""
        if self.closed:
            return
        self._items.append(item)
        if characters:
            self._characters += characters
        if self._sleeping:
            self._sleeping = False
            if _thread.get_ident() == self._home:
                self._wake()
            else:
                self._port.post(self._wake)

    @property
    def full(self) -> bool:
        """Whether a producer should wait: too many items or characters are outstanding and somebody will take them."""
        outstanding = len(self._items)
        if outstanding < MOST_ITEMS and (outstanding == 0 or self._characters < MOST_CHARACTERS):
            return False
        return not self.closed

    async def room(self) -> None:
        """Waits, on the loop, until the consumer has taken what is there or has gone."""
        while self.full:
            waiter = self._loop.create_future()
            self._rooms.append(waiter)
            await waiter

    def wait_for_room(self) -> None:
        """The same for the producer's thread. A bare lock: an exception raised into a waiting thread breaks nothing."""
        while self.full:
            self._blocked = True
            if self.full:
                self._gate.acquire()

    async def take(self) -> list[Any]:
        """Returns all items that are there, waiting for the first; an empty list is the end."""
        while True:
            items = self._items
            if items:
                batch = [items.popleft() for _ in range(len(items))]
                self._characters = 0
                self._make_room()
                return batch
            if self.finished:
                return []
            self._wakeup = self._loop.create_future()
            self._sleeping = True
            if self._items or self.finished:
                self._sleeping = False
                continue
            await self._wakeup

    def finish(self) -> None:
        """Says that no more items come. On the loop."""
        self.finished = True
        self._wake()

    def close(self) -> None:
        """Drops what is there and lets waiting producers go on into nothing. On the loop."""
        self.closed = True
        self._items.clear()
        self._make_room()

    def _make_room(self) -> None:
        if self._rooms:
            for waiter in self._rooms:
                if not waiter.done():
                    waiter.set_result(None)
            self._rooms.clear()
        if self._blocked:
            self._blocked = False
            if self._gate.locked():
                self._gate.release()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
