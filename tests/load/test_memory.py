"""Memory after many requests is what it was after some."""

from __future__ import annotations

import asyncio

from tests.load.scene import memory_mb

PIPE = """
class Pipe:
    async def pipe(self, body, __metadata__, __event_emitter__):
        text = body["messages"][-1]["content"]
        await __event_emitter__({"type": "status", "data": {"description": text, "done": True}})
        if text == "fail":
            raise ValueError("as asked")
        for word in text.split():
            yield word
"""

FILTER = """
class Filter:
    def inlet(self, body, __user__):
        body["messages"][-1]["content"] += " and more"
        return body

    async def stream(self, event):
        return event

    async def outlet(self, body):
        body["messages"][-1]["content"] += "!"
        return body
"""

LONG = "a rather long text " * 50


async def some(scene, client, count):
    """Sends requests of every sort, sixteen at a time."""

    async def worker(numbers):
        for number in numbers:
            if number % 10 == 9:
                answer = await client.post("/v1/chat/completions", json=scene.body("unknown", "x"))
                assert answer.status_code == 404
            elif number % 10 == 8:
                answer = await client.post("/v1/chat/completions", content=b"{")
                assert answer.status_code == 400
            elif number % 2:
                async with client.stream(
                    "POST", "/v1/chat/completions", json=scene.body("pipe", LONG, stream=True)
                ) as answer:
                    last = [line async for line in answer.aiter_lines()]
                    assert "data: [DONE]" in last
            else:
                await scene.ask(client, "pipe", f"{LONG} {number}")

    numbers = iter(range(count))
    await asyncio.gather(*(worker(numbers) for _ in range(16)))


def test_memory_is_flat_over_thousands_of_requests(scene):
    scene.store({"pipe": PIPE, "filter": FILTER}, globals=("filter",))

    async def life():
        async with scene.client(connections=16) as client:
            await some(scene, client, 1_000)
            before = memory_mb(scene.server.pid)
            await some(scene, client, 3_000)
            return memory_mb(scene.server.pid) - before

    # Half a kilobyte kept of every request would show as more than this with many more requests; what is
    # allowed here is the noise of an allocator.
    assert asyncio.run(life()) < 25
