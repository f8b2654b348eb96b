"""What becomes of the work behind a stream that ends at an odd moment."""

from __future__ import annotations

import asyncio

from pipeline_app.api.streaming import streamed
from pipeline_app.dispatch import NOBODY
from pipeline_app.runs import Record, running


class Letters:
    """Frames of single letters."""

    def encode(self, pieces):
        return "".join(pieces).encode()

    def error(self, error):
        return str(error).encode()


async def test_work_whose_client_left_before_the_first_frame_is_ended():
    """It would wait for ever for somebody to take what it says, and keep its worker and its place."""
    record = Record(NOBODY, "r", "chat", "m")

    async def work(channel):
        try:
            with record:
                while True:
                    await channel.send(["x"] * 300)
        finally:
            record.end()

    response = await streamed(record, work, Letters(), interactive=False)
    assert record.id in running
    async with asyncio.timeout(30):
        await response._iterator.aclose()
    assert record.id not in running
    assert record.outcome == "cancelled"


async def test_a_stream_that_is_left_later_ends_its_work_once():
    record, ends = Record(NOBODY, "r", "chat", "m"), []

    async def work(channel):
        try:
            with record:
                while True:
                    await channel.send(["x"] * 300)
        finally:
            ends.append(True)
            record.end()

    response = await streamed(record, work, Letters(), interactive=False)
    assert await anext(response._iterator) == b"x" * 300
    async with asyncio.timeout(30):
        await response._iterator.aclose()
        await response._iterator.aclose()
    assert ends == [True]
    assert record.id not in running
