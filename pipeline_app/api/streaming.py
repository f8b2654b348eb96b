"""Answers as server-sent events: of a request that goes on with its client, or of a run that does without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from pipeline_app import wire
from pipeline_app.api.base import json_response
from pipeline_app.background import Encoder
from pipeline_app.errors import RequestError
from pipeline_app.events import Channel
from pipeline_app.runs import Record
from pipeline_app.runtime import engine

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Work = Callable[[Channel], Awaitable[None]]

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Without them proxies collect frames before they pass them on."""
IDLE_SECONDS = 15.0
"""After so long without a frame a comment goes out, so that nobody between thinks the connection dead."""


def sent(frames: AsyncIterator[bytes], run: str) -> HttpResponseBase:
    """Returns the answer that sends frames of a run."""
    return StreamingHttpResponse(
        frames,
        content_type="text/event-stream; charset=utf-8",
        headers={**STREAM_HEADERS, "X-Run-ID": run},
    )


async def streamed(
    record: Record, work: Work, encoder: Encoder, *, interactive: bool, at_once: bool = False
) -> HttpResponseBase:
    """Returns a streaming answer once there is something to send: until then a failure has its status.

    ``work`` sends what it has to say into a channel and ends it; it is stopped when the client leaves. ``at_once``
    begins the answer as soon as somebody has waited for a while. ``interactive``: functions may ask the client.
    """
    channel = Channel()
    if interactive:
        await record.listen(channel.put)
    task = asyncio.ensure_future(work(channel))
    batches = channel.batches(IDLE_SECONDS)
    try:
        first: list[Any] = await anext(batches, [])
        while not first and not at_once and not task.done():
            first = await anext(batches, [])
    except BaseException:
        await _over(record, task)
        raise
    return sent(_Frames(record, task, _frames(record, task, encoder, batches, first)), str(record.id))


class _Frames(AsyncIterator[bytes]):
    """The frames of work that has begun: closed before the first is taken, they end the work all the same.

    A generator that nobody has asked for anything ends without a word, and so without its ``finally``.
    """

    def __init__(self, record: Record, task: asyncio.Future[None], frames: AsyncGenerator[bytes, None]) -> None:
        self._record = record
        self._task = task
        self._frames = frames
        self._begun = False

    async def __anext__(self) -> bytes:
        self._begun = True
        return await anext(self._frames)

    async def aclose(self) -> None:
        await self._frames.aclose()
        if not self._begun:
            await _over(self._record, self._task)


async def _frames(
    record: Record, task: asyncio.Future[None], encoder: Encoder, batches: AsyncIterator[list[Any]], first: list[Any]
) -> AsyncGenerator[bytes, None]:
    try:
        yield encoder.encode(first) if first else wire.KEEP_ALIVE
        async for batch in batches:
            if encoded := encoder.encode(batch) if batch else wire.KEEP_ALIVE:
                yield encoded
        yield wire.DONE
    except RequestError as error:
        yield encoder.error(error)
    except Exception:
        logger.exception("A stream failed in the server")
        yield encoder.error(RequestError("The server failed to go on; its log has the reason.", status=500))
    finally:
        await _over(record, task)


async def _over(record: Record, task: asyncio.Future[None]) -> None:
    """The stream is over: its work has ended, or has a moment to, where it asks a client that has gone."""
    if not task.done():
        await record.left()
    await stop(task)
    record.abandon()


async def stop(task: asyncio.Future[None]) -> None:
    """Ends the work behind a stream; what it ended with was told through its channel."""
    if not task.done():
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def in_background(
    record: Record, work: Work, encoder: Encoder, *, interactive: bool, stream: bool
) -> HttpResponseBase:
    """Begins a run that goes on without its client; returns its beginning as 202, or its frames as they come."""
    if not engine.mailbox.is_open or engine.backgrounds.closing:
        raise RequestError(
            "This server process runs nothing in the background: it has just begun, is about to end, or its ASGI "
            "server speaks no 'lifespan'.",
            param="background",
            code="unavailable",
            status=503,
            headers={"Retry-After": "1"},
        )
    story = await engine.backgrounds.start(record, work, encoder, interactive=interactive)
    run = str(record.id)
    if stream:
        return sent(story.follow(0, IDLE_SECONDS), run)
    path = f"/api/v1/runs/{run}"
    begun = {"id": run, "object": "run", "status": "running", "events": f"{path}/events"}
    return json_response(begun, 202, headers={"X-Run-ID": run, "Location": path})
