"""Whether memory stays flat: memory of the server between batches of many requests."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import client, functions, report
from benchmarks.servers import Installations, ours
from benchmarks.workloads import Case

BATCHES = 10


async def measure(requests: int, say: Callable[[str], None]) -> str:
    """Sends plain and streamed requests through five filters; returns a table of the memory after each batch."""
    case = Case("plain answer", "5 async filters", "hello", 16)
    streamed = Case("stream", "5 async filters", "first", 16, stream=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        installation = Installations(Path(folder)).make("memory", functions.PIPES, functions.filters("async"))
        with ours(installation) as server:
            for one in (case, streamed):
                head, body, _ = await client.once(server.port, one.request(installation.key))
                one.check(head, body)
            rows.append(["2", f"{server.memory_mb():.1f}"])
            sent = 0
            while sent < requests:
                batch = min(-(-requests // BATCHES), requests - sent)
                streams = max(32, batch // 5)
                await client.requests(server.port, streamed.request(installation.key), streams, 16)
                await client.requests(server.port, case.request(installation.key), max(32, batch - streams), 16)
                sent += batch
                await asyncio.sleep(1.5)  # runs are written in batches, a second behind
                rows.append([f"{sent:,}", f"{server.memory_mb():.1f}"])
                say(f"{sent:,} requests, {rows[-1][1]} MB")
    return report.table(["requests so far", "memory, MB"], rows)
