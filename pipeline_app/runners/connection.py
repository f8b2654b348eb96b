"""One socket to a worker: whole frames in, at a pace that the server can bear; frames of one turn out, joined.

What is at the other end may be hostile. So a turn of the loop reads so many frames and no more, those that
nothing else bounds cost tokens, and a worker that does not read what it is sent is found out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from pipeline_app.worker.protocol import ProtocolError, Reader, encode

FRAMES_A_TURN = 128
RATE = 2000.0
"""Tokens a second, and at once after a pause, for what no credits bound: host calls, events, answers to pings."""
TOKEN = 4096
"""A frame costs one token, and one more for each so many bytes: it must be understood before it can be refused."""
UNSENT_MOST = 16 * 1024 * 1024
STALLED_SECONDS = 10.0

_TURN, _PACE, _FULL = 1, 2, 4


class Connection(asyncio.Protocol):
    """Frames in both directions. ``on_frame(message, size)`` returns whether the frame costs tokens.

    It may raise ``ProtocolError``. ``on_end`` is called once: with what was wrong, or None when the other end closed.
    """

    def __init__(
        self,
        on_frame: Callable[[list[Any], int], bool],
        on_end: Callable[[str | None], None],
        longest: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._on_end = on_end
        self._reader = Reader(longest)
        self._transport: asyncio.Transport | None = None
        self._held = 0
        self._tokens = RATE
        self._counted = self._loop.time()
        self._out: list[bytes] = []
        self._written = 0
        self._room: asyncio.Future[None] | None = None
        self._crowded = False
        self._read_by_worker = 0
        self._moved = self._counted
        self.ended = False

    # --- what comes in ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(UNSENT_MOST, UNSENT_MOST // 4)

    def data_received(self, data: bytes) -> None:
        self._read(data)

    def _read(self, data: bytes) -> None:
        reader = self._reader
        try:
            for size, message in reader.feed(data, 0 if self._held else FRAMES_A_TURN):
                if self._on_frame(message, size):
                    self._tokens -= min(1 + size // TOKEN, RATE)
                if self.ended:
                    return
        except ProtocolError as error:
            self._end(str(error))
            return
        if self._tokens < 0:
            self._wait_for_tokens()
        if not self._held and reader.ready:
            self._hold(_TURN)
            self._loop.call_soon(self._release, _TURN)

    def _wait_for_tokens(self) -> None:
        now = self._loop.time()
        self._tokens = min(RATE, self._tokens + (now - self._counted) * RATE)
        self._counted = now
        if self._tokens < 0 and not self._held & _PACE:
            self._hold(_PACE)
            self._loop.call_later(max(0.05, -self._tokens / RATE), self._release, _PACE)

    def hold(self) -> None:
        """Stops reading: too much of what came in waits for somebody."""
        self._hold(_FULL)

    def go_on(self) -> None:
        """Reads again after ``hold``."""
        self._release(_FULL)

    def _hold(self, why: int) -> None:
        if not self._held and self._transport is not None and not self.ended:
            self._transport.pause_reading()
        self._held |= why

    def _release(self, why: int) -> None:
        if not self._held & why:
            return
        self._held &= ~why
        if self._held or self.ended:
            return
        self._read(b"")
        self._resume()

    def _resume(self) -> None:
        if not self._held and not self.ended and self._transport is not None:
            self._transport.resume_reading()

    # --- what goes out ------------------------------------------------------------------------------

    def send(self, message: list[Any]) -> None:
        """Sends a frame with what else is sent in this turn of the loop; a connection that ended takes nothing."""
        if self.ended:
            return
        self._out.append(encode(message))
        if len(self._out) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        frames, self._out = self._out, []
        if self.ended or self._transport is None or not frames:
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        self._written += len(data)
        self._transport.write(data)

    def pause_writing(self) -> None:
        self._crowded = True

    def resume_writing(self) -> None:
        self._crowded = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    @property
    def crowded(self) -> bool:
        """Whether so much is unsent that whoever has more should wait."""
        return self._crowded

    async def room(self) -> None:
        """Waits while the connection is crowded."""
        while self._crowded and not self.ended:
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def stalled(self) -> bool:
        """Whether the worker has read nothing for a while of much that is unsent; to be asked now and then."""
        if self._transport is None or self.ended:
            return False
        unsent = self._transport.get_write_buffer_size()
        sent, now = self._written - unsent, self._loop.time()
        if sent != self._read_by_worker or not self._crowded:
            self._read_by_worker, self._moved = sent, now
        return now - self._moved > STALLED_SECONDS

    # --- the end ------------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(None)

    def close(self) -> None:
        """Closes without a word to ``on_end``."""
        if not self.ended:
            self._on_end = _unheard
            self._end(None)

    def _end(self, wrong: str | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()
        self.resume_writing()
        on_end, self._on_end = self._on_end, _unheard
        on_end(wrong)


def _unheard(_: str | None) -> None:
    """Stands where somebody was told of the end."""
