"""A pipe's answer, whatever it is, on its way into the channel."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from .answers import Pieces, Shape, Whole, shape
from .channel import Channel
from .hooks import invoke
from .jsonable import weight
from .plans import Plan
from .running import Stage

if TYPE_CHECKING:
    from .calls import Call

After = Callable[[], Awaitable[Any]]


class Pipe:
    """One call of a pipe: called, then its answer taken where its kind belongs, on the loop or on a thread."""

    def __init__(self, call: Call, plan: Plan, channel: Channel) -> None:
        self._call = call
        self._plan = plan
        self._channel = channel
        self._pieces = Pieces()

    def stage(self) -> Stage:
        """Returns where the call begins."""
        return Stage(False, self._on_loop) if self._plan.is_async else Stage(True, self._on_thread)

    def _begin(self) -> Any:
        return invoke(self._plan, self._call.payload, self._call.arguments(self._plan))

    async def _on_loop(self) -> Stage | None:
        return await self._take(shape(self._begin()))

    def _on_thread(self) -> Stage | None:
        result = self._begin()
        found = shape(result)
        if found.kind == "sync":
            self._pump(found.value)
            return None
        if found.kind == "items" and found.after is None:
            self._deliver(found.value)
            return None
        return Stage(False, lambda: self._take(found), found.value)

    async def _take(self, found: Shape) -> Stage | None:
        """Takes an answer on the loop; what has to be pumped by a thread becomes the next stage."""
        after: list[After] = []
        try:
            for _ in range(10):  # an awaitable of an awaitable of ...
                if found.after is not None:
                    after.append(found.after)
                if found.kind != "await":
                    break
                found = shape(await found.value)
            if found.kind == "sync":
                source = found.value
                return Stage(True, lambda: self._pump(source))
            if found.kind == "async":
                await self._drain(found.value)
            elif found.kind == "items":
                self._deliver(found.value)
            return None
        finally:
            for clean_up in after:
                await clean_up()

    async def _drain(self, source: AsyncIterable[Any]) -> None:
        channel, feed = self._channel, self._pieces.feed
        try:
            async for piece in source:
                for item in feed(piece):
                    self._put(item)
                if channel.full:
                    await channel.room()
                if channel.closed:
                    return
            self._deliver(self._pieces.flush())
        except Exception:
            self._deliver(self._pieces.flush())
            raise
        finally:
            close = getattr(source, "aclose", None) or getattr(source, "close", None)
            closing = close() if callable(close) else None
            if isawaitable(closing):
                await closing

    def _pump(self, source: Iterable[Any]) -> None:
        channel, feed = self._channel, self._pieces.feed
        self._call.be_gentle()
        try:
            for piece in source:
                for item in feed(piece):
                    self._put(item)
                channel.wait_for_room()
                if channel.closed:
                    return
            self._deliver(self._pieces.flush())
        except Exception:
            self._deliver(self._pieces.flush())
            raise
        finally:
            close = getattr(source, "close", None)
            if callable(close):
                close()

    def _deliver(self, items: list[Any]) -> None:
        for item in items:
            self._put(item)

    def _put(self, item: Any) -> None:
        size = len(item) if type(item) is str else weight(item.value if isinstance(item, Whole) else item)
        if size > self._call.output_limit:
            self._call.checked(item, size, "answered a chunk of")
        self._channel.put(item, size)
