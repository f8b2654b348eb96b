"""Runs that outlive their clients: each has a task of its own, and what it says is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from django.conf import settings

from pipeline_app import wire
from pipeline_app.errors import RequestError
from pipeline_app.events import Channel
from pipeline_app.runners.base import Runner
from pipeline_app.runs import Record
from pipeline_app.story import Story, told

logger = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
CLOSE_SECONDS = 10.0
"""How long a server that stops waits until it is written down how its background runs ended."""


class Encoder(Protocol):
    """How what travels through a channel looks as frames (``sse``)."""

    def encode(self, pieces: list[Any]) -> bytes:
        """Returns the frames of some pieces."""

    def error(self, error: RequestError) -> bytes:
        """Returns the end of a stream that failed, with the end mark."""


class Backgrounds:
    """The background runs of this process."""

    def __init__(self, runner: Callable[[], Runner]) -> None:
        self._runner = runner
        self.closing = False
        """Whether the process is told to stop: none begins any more, and nobody follows others from here."""
        self._runs: dict[asyncio.Task[None], Record] = {}

    async def start(
        self, record: Record, work: Callable[[Channel], Awaitable[None]], encoder: Encoder, *, interactive: bool
    ) -> Story:
        """Begins work that goes on whatever its client does; returns its story. Raises ``TooManyRuns``.

        ``work`` sends what it has to say into a channel, ends the channel, and keeps ``record``.
        """
        record.background = True
        channel = Channel()
        await (record.listen(channel.put) if interactive else record.announce())
        story = told[record.id] = Story(record.id)
        task = asyncio.create_task(self._tell(record, work, channel, story, encoder), name="background run")
        self._runs[task] = record
        task.add_done_callback(self._runs.pop)
        return story

    async def _tell(
        self,
        record: Record,
        work: Callable[[Channel], Awaitable[None]],
        channel: Channel,
        story: Story,
        encoder: Encoder,
    ) -> None:
        """Turns what the work says into the frames of its story, to the end, and has them written."""
        writing = asyncio.create_task(story.keep_writing(), name="story writer")
        working = asyncio.ensure_future(work(channel))
        most = settings.FUNCTIONS_BACKGROUND_MB * MEGABYTE
        try:
            async for pieces in channel.batches():
                if story.size <= most:
                    story.add(encoder.encode(pieces))
                    if story.size > most:
                        why = f"the server: it says more than the {settings.FUNCTIONS_BACKGROUND_MB:g} MB that are kept"
                        await record.stop(self._runner(), f"{why} of a background run (FUNCTIONS_BACKGROUND_MB)")
            story.end(wire.DONE)
        except RequestError as error:
            story.end(encoder.error(error))
        except asyncio.CancelledError:
            story.end(encoder.error(RequestError("The server process was shut down.", status=503, code="shut_down")))
        except Exception:
            logger.exception("A background run failed in the server")
            story.end(encoder.error(RequestError("The server failed to go on; its log has the reason.", status=500)))
            working.cancel()  # nobody takes what it says any more, for which it would wait
        await asyncio.wait({working, writing})
        record.abandon()
        if not working.cancelled():
            working.exception()  # what it ended with was told through the channel

    async def close(self) -> None:
        """Stops all of them because the server process ends, and waits until that is written."""
        self.closing = True
        runs = dict(self._runs)
        if not runs:
            return
        stopping = [record.stop(self._runner(), "the server, which was shut down") for record in runs.values()]
        for outcome in await asyncio.gather(*stopping, return_exceptions=True):
            if isinstance(outcome, Exception):  # the others are to be stopped, and the rest of the server too
                logger.error("A background run could not be stopped", exc_info=outcome)
        await asyncio.wait(runs, timeout=CLOSE_SECONDS)
