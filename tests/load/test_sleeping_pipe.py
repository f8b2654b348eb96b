"""A pipe that blocks its thread, and everybody else."""

from __future__ import annotations

import asyncio
import time

SLEEPER = """
import time


class Pipe:
    def pipe(self, body):
        time.sleep(5)
        return "slept"
"""

BYSTANDER = """
class Pipe:
    {define} pipe(self, body):
        return "awake"
"""


def test_a_pipe_that_sleeps_leaves_the_others_answering(scene):
    scene.store(
        {
            "sleeper": SLEEPER,
            "bystander": BYSTANDER.format(define="async def"),
            "sync_bystander": BYSTANDER.format(define="def"),
        }
    )
    times = []

    async def bystanders(client, sleepers):
        while not all(task.done() for task in sleepers):
            for model in ("bystander", "sync_bystander"):
                started = time.perf_counter()
                assert await scene.ask(client, model) == "awake"
                times.append(time.perf_counter() - started)

    async def night():
        async with scene.client() as client:
            sleepers = [asyncio.create_task(scene.ask(client, "sleeper")) for _ in range(30)]
            await bystanders(client, sleepers)
            return await asyncio.gather(*sleepers)

    assert asyncio.run(night()) == ["slept"] * 30
    # No measurement: only a bound that a server standing still for a sleeper could not keep.
    assert sorted(times)[int(len(times) * 0.99)] < 1
