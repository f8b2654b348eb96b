"""What functions tell the client beside the answer, and the channel that carries both in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

Json = dict[str, Any]

ADD_TEXT = frozenset({"message", "chat:message:delta"})
"""Events that add their content to the text of the answer."""

SET_TEXT = frozenset({"replace", "chat:message"})
"""Events that put their content in the place of the text so far."""

CARRY_TEXT = (
    ADD_TEXT
    | SET_TEXT
    | {"chat:completion", "response:completion", "embeds", "chat:message:embeds", "source", "citation"}
    | {"chat:message:follow_ups", "chat:title"}
)
"""Events that show text of the answer: they go the way of the answer when an outlet changes it."""


def text_of_event(event: Json) -> tuple[str, str | None]:
    """Returns the text that an event adds to what a reader sees, and what it first puts in its place, if anything."""
    kind, data = event.get("type"), event.get("data")
    if not isinstance(data, dict):
        return "", None
    content = data.get("content")
    if kind in ADD_TEXT:
        return (content, None) if isinstance(content, str) else ("", None)
    if kind in SET_TEXT:
        return "", content if isinstance(content, str) else None
    if kind == "chat:completion":
        if isinstance(data.get("output"), list):
            return "", _text_of_output(data["output"])
        return ("", content) if isinstance(content, str) else (_text_of_choice(data.get("choices")), None)
    if kind == "response:completion":
        delta = data.get("delta")
        return (
            (delta, None) if data.get("type") == "response.output_text.delta" and isinstance(delta, str) else ("", None)
        )
    return "", None


def _text_of_choice(choices: Any) -> str:
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    for name in ("message", "delta"):
        said = first.get(name)
        if isinstance(said, dict) and isinstance(said.get("content"), str):
            text: str = said["content"]
            return text
    return ""


def _text_of_output(items: list[Any]) -> str:
    """Returns the text of output items: of messages, joined by newlines."""
    texts = []
    for item in items:
        if isinstance(item, dict) and item.get("type") == "message":
            parts = item.get("content")
            texts.append(
                "".join(
                    part["text"]
                    for part in (parts if isinstance(parts, list) else ())
                    if isinstance(part, dict) and isinstance(part.get("text"), str)
                )
            )
    return "\n".join(texts)


def usage_of_event(event: Json) -> Json | None:
    """Returns the usage that a ``chat:completion`` event reports; None when it reports none."""
    data = event.get("data")
    usage = data.get("usage") if isinstance(data, dict) else None
    return usage if isinstance(usage, dict) else None


AT_ONCE = frozenset({"status", "notification", "filter:skipped"})
"""Events that a held stream lets through: progress, no part of the answer."""

SKIPPED = "filter:skipped"
"""A filter failed and its policy lets the request go on without it: data has filter, hook and error."""

OUTLET = "chat:outlet"
"""The outlet filters changed an answer whose chunks had gone out: data has the messages as they should read."""


class Channel:
    """Pieces of one answer on their way from the pipeline to the client.

    Whatever is ready travels together. A sender that waits is held up while the reader is behind;
    one that can't wait (an event) never is.
    """

    HIGH_WATER = 256

    def __init__(self) -> None:
        self._pieces: deque[Any] = deque()
        self._ready: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._ended = False
        self._error: BaseException | None = None

    def put(self, piece: Any) -> None:
        """Adds a piece at once; to be called on the event loop."""
        self._pieces.append(piece)
        self._wake()

    async def send(self, pieces: list[Any]) -> None:
        """Adds pieces and waits while too many are unread."""
        self._pieces.extend(pieces)
        self._wake()
        while len(self._pieces) > self.HIGH_WATER:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def end(self, error: BaseException | None = None) -> None:
        """Says that nothing more comes; with an error the reader gets it after what came before."""
        self._ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    async def batches(self, idle: float | None = None) -> AsyncIterator[list[Any]]:
        """Yields lists of all pieces that are ready, until the end; then raises the error if there was one.

        After ``idle`` seconds without a piece it yields an empty list.
        """
        loop = asyncio.get_running_loop()
        while True:
            if self._pieces:
                batch = list(self._pieces)
                self._pieces.clear()
                if self._drained is not None and not self._drained.done():
                    self._drained.set_result(None)
                self._drained = None
                yield batch
            elif self._ended:
                if self._error is not None:
                    raise self._error
                return
            else:
                self._ready = loop.create_future()
                timer = loop.call_later(idle, self._wake) if idle is not None else None
                try:
                    await self._ready
                finally:
                    self._ready = None
                    if timer is not None:
                        timer.cancel()
                if not self._pieces and not self._ended:
                    yield []
