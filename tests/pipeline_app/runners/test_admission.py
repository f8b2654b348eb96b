"""Who gets a place, who waits for one, and who is refused."""

from __future__ import annotations

import asyncio

import pytest

from pipeline_app.errors import Busy
from pipeline_app.runners import admission
from pipeline_app.runners.admission import Gate, Gates, is_sync

from .conftest import code, policy


async def test_places_are_taken_until_there_are_none():
    gate, rules = Gate(), policy(concurrency=2)
    assert gate.enter(rules, False)
    assert gate.enter(rules, True)
    assert not gate.enter(rules, False)
    gate.leave(True)
    assert gate.enter(rules, False)


async def test_sync_hooks_have_fewer_places_and_do_not_hold_up_the_others():
    gate, version = Gate(), code("", concurrency=4, threads=9)
    assert version.policy.sync_concurrency == 1
    assert gate.enter(version.policy, True)
    waiting = asyncio.create_task(gate.wait(version, "inlet", True))
    await asyncio.sleep(0)
    assert await gate.wait(version, "outlet", False) < 0.1
    assert not waiting.done()
    gate.leave(True)
    assert await waiting > 0


async def test_who_came_first_goes_first():
    gate, version = Gate(), code("", concurrency=1)
    gate.enter(version.policy, False)
    order = []

    async def one(name):
        await gate.wait(version, "inlet", False)
        order.append(name)
        gate.leave(False)

    async with asyncio.timeout(5):
        waiting = [asyncio.create_task(one("a"))]
        await asyncio.sleep(0)
        gate.leave(False)
        await asyncio.gather(*waiting)
    assert order == ["a"]


async def test_patience_ends(monkeypatch):
    monkeypatch.setattr(admission, "PATIENCE", 0.05)
    gate, version = Gate(), code("", "slow", concurrency=1)
    gate.enter(version.policy, False)
    with pytest.raises(Busy) as caught:
        await gate.wait(version, "inlet", False)
    assert caught.value.message == (
        "Function 'slow' is busy: 1 call of it runs, the most that its policy allows (concurrency), "
        "and none ended within 0.05 s."
    )
    gate.leave(False)
    assert gate.empty


async def test_who_leaves_the_queue_keeps_no_place():
    gate, version = Gate(), code("", concurrency=1)
    gate.enter(version.policy, False)
    waiting = asyncio.create_task(gate.wait(version, "inlet", False))
    await asyncio.sleep(0)
    gate.leave(False)  # the place is on its way
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert gate.empty


def test_a_function_without_calls_is_forgotten_when_there_are_many():
    gates = Gates()
    held = gates.of("held")
    held.enter(policy(), False)
    for n in range(1100):
        gates.of(f"function{n}")
    assert gates.of("held") is held
    assert len(gates._gates) < 1100


def test_a_hook_that_nobody_knows_counts_as_one_that_holds_a_thread():
    version = code("", hooks={"inlet": True, "outlet": False})
    assert [is_sync(version, hook) for hook in ("inlet", "outlet", "pipe")] == [False, True, True]
