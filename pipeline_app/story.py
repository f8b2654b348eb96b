"""The frames of a background run: numbered, kept, and told to whoever follows, from any number on.

In the process that has the run they are told from memory, elsewhere and later from the database.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable

from pipeline_app import wire
from pipeline_app.database import in_database
from pipeline_app.models import Run, RunEvent
from pipeline_app.models.run import GONE

logger = logging.getLogger(__name__)

WRITE_SECONDS = 0.25
"""How long frames are collected before they are written, and how often who follows from elsewhere looks for them."""
AGAIN_SECONDS = 2.0
"""The wait after a failed write, and between two looks at whether a run's process is still there."""
ROW_BYTES = 256 * 1024
HELD_BYTES = 1024 * 1024
"""How much of what is written stays in memory, for those who follow in this process."""
AT_ONCE_BYTES = 256 * 1024
"""About how much a follower is sent in one go."""
END = b"[DONE]"
LATE_SECONDS = 10.0
"""How long the last frames may come after word that their run has ended."""

told: dict[uuid.UUID, Story] = {}
"""The stories that this process tells: of its runs, until all of their frames are written."""


def numbered(number: int, data: bytes) -> bytes:
    """Returns one frame with its id."""
    return b"id: %d\ndata: %s\n\n" % (number, data)


class Story:
    """What one background run says, from its first frame to the end mark."""

    def __init__(self, run_id: uuid.UUID) -> None:
        self.run_id = run_id
        self.size = 0
        """The bytes that are kept."""
        self.ended = False
        self._frames: list[bytes] = []
        """The last frames: all that are not written yet, and some before them."""
        self._forgotten = 0
        """How many came before those."""
        self._written = 0
        self._news = asyncio.Event()

    def add(self, frames: bytes) -> None:
        """Takes encoded frames."""
        for frame in frames.split(b"\n\n"):
            if frame.startswith(b"data: "):  # else a comment
                self._frames.append(frame[6:])
                self.size += len(frame)
        self._tell()

    def end(self, frames: bytes) -> None:
        """Takes the last frames, of which the very last is the end mark."""
        self.ended = True
        self.add(frames)

    @property
    def length(self) -> int:
        """The number of the last frame."""
        return self._forgotten + len(self._frames)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, after: int, idle: float) -> AsyncIterator[bytes]:
        """Yields the frames after a number as they come, to the end; a comment after ``idle`` seconds without one."""
        said = False
        while True:
            if after < self._forgotten:
                found = await in_database(RunEvent.objects.after, self.run_id, after)
                if not found:  # they were deleted under it
                    return
                after, said = found[-1][0], True
                yield b"".join(numbered(number, data.encode()) for number, data in found)
            elif after < self.length:
                part, size, said = list[bytes](), 0, True
                while after < self.length and size < AT_ONCE_BYTES:
                    part.append(numbered(after + 1, self._frames[after - self._forgotten]))
                    size += len(part[-1])
                    after += 1
                yield b"".join(part)
            elif self.ended:
                if not said:
                    yield wire.DONE
                return
            else:
                try:
                    async with asyncio.timeout(idle):
                        await self._news.wait()
                except TimeoutError:
                    yield wire.KEEP_ALIVE

    async def keep_writing(self) -> None:
        """Writes frames a moment after they came, until all are written; then this process needs no longer tell it."""
        while not (self.ended and self._written == self.length):
            if self._written == self.length:
                await self._news.wait()
            if not self.ended:
                await asyncio.sleep(WRITE_SECONDS)
            try:
                await in_database(self._write)
                self._forget()
            except Exception:  # it outlives whatever the database does
                logger.exception("Frames of run %s can't be written; trying again in a moment", self.run_id)
                await asyncio.sleep(AGAIN_SECONDS)
        told.pop(self.run_id, None)

    def _forget(self) -> None:
        """Lets go of frames that are written, but for the last: whoever follows from before them reads them there."""
        held = sum(map(len, self._frames))
        count = 0
        while held > HELD_BYTES and self._forgotten + count < self._written:
            held -= len(self._frames[count])
            count += 1
        del self._frames[:count]
        self._forgotten += count

    def _write(self) -> None:
        last = self.length
        rows, lines, size = list[RunEvent](), list[bytes](), 0
        for number in range(self._written + 1, last + 1):
            lines.append(self._frames[number - 1 - self._forgotten])
            size += len(lines[-1])
            if size > ROW_BYTES or number == last:
                rows.append(RunEvent(run_id=self.run_id, number=number, data=b"\n".join(lines).decode()))
                lines, size = [], 0
        # A write that was done and yet reported as failed is not done twice.
        RunEvent.objects.bulk_create(rows, ignore_conflicts=True)
        self._written = last


async def follow_stored(
    run_id: uuid.UUID, after: int, idle: float, closing: Callable[[], bool] = lambda: False
) -> AsyncIterator[bytes]:
    """Yields the kept frames after a number, and those that come, to the end; as ``Story.follow`` does, elsewhere.

    It breaks off when this process is ``closing``: who follows goes on in another one.
    """
    loop = asyncio.get_running_loop()
    said = looked = loop.time()
    ended_at: float | None = None
    while not closing():
        if loop.time() - looked > AGAIN_SECONDS:
            looked = loop.time()
            await in_database(Run.objects.filter(pk=run_id).bury)
        # The outcome first: what was written before it is then found.
        outcome = await in_database(_outcome, run_id)
        found = await in_database(RunEvent.objects.after, run_id, after)
        if found:
            after, said = found[-1][0], loop.time()
            yield b"".join(numbered(number, data.encode()) for number, data in found)
            if found[-1][1].encode() == END:
                return
            continue
        if outcome is None or outcome != Run.Outcome.RUNNING:
            ended_at = ended_at or loop.time()
            if await in_database(_is_told, run_id, after):
                yield wire.DONE
                return
            if outcome is None or loop.time() - ended_at > LATE_SECONDS or await in_database(_is_gone, run_id):
                message = GONE if outcome is None or outcome == Run.Outcome.FAILED else "Its last frames were not kept."
                yield wire.frame(wire.error(message, "server_error", code="run_lost")) + wire.DONE
                return
        if loop.time() - said > idle:
            said = loop.time()
            yield wire.KEEP_ALIVE
        await asyncio.sleep(WRITE_SECONDS)


def _outcome(run_id: uuid.UUID) -> str | None:
    """Returns how a run ended, or that it goes on; None when there is no such run any more."""
    return Run.objects.filter(pk=run_id).values_list("outcome", flat=True).first()


def _is_gone(run_id: uuid.UUID) -> bool:
    return Run.objects.filter(pk=run_id, error=GONE).exists()


def _is_told(run_id: uuid.UUID, after: int) -> bool:
    """Whether a story was told to its end, and nothing of it comes after a number."""
    last = RunEvent.objects.filter(run_id=run_id).order_by("-number").first()
    return last is not None and last.number <= after and last.data.encode().split(b"\n")[-1] == END
