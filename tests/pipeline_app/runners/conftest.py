"""Runners for tests: both under one fixture, and the process runner alone. One of each serves all tests."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import textwrap
import threading
import uuid
from pathlib import Path

import pytest
from django.conf import settings

from functions_app.policy import TIME_LIMITS, Policy
from pipeline_app.runners.base import Code, Task
from pipeline_app.runners.elsewhere import Elsewhere
from pipeline_app.runners.inline import InlineRunner
from pipeline_app.runners.process import ProcessRunner


class Trips(list):
    """The breakers that opened; calling it notes one."""

    __call__ = list.append


@pytest.fixture(scope="session")
def home():
    """A loop in a thread of its own, as management commands have it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="runner loop", daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def one_process_runner(home, base_packages):
    trips = Trips()
    runner = ProcessRunner(on_trip=trips)
    runner.trips = trips

    async def close():
        await runner.close()

    yield runner
    asyncio.run_coroutine_threadsafe(close(), home).result(30)


@pytest.fixture
def process_runner(one_process_runner, home):
    """The process runner, from another loop than its own; ``process_runner.inner`` is the runner itself."""
    runner = Elsewhere(one_process_runner, home)
    runner.inner = one_process_runner
    one_process_runner.trips.clear()
    yield runner
    one_process_runner.forget()


@pytest.fixture
def inline_runner(base_packages):
    runner = InlineRunner()
    yield runner
    runner.forget()


@pytest.fixture
def packages(base_packages):
    """Makes folders of packages where the store has them: ``packages({"thing.py": text})`` returns the path."""
    made: list[Path] = []

    def make(files: dict[str, str], name: str = "") -> str:
        folder = settings.FUNCTIONS_ENVIRONMENTS / (name or f"tests-{uuid.uuid4().hex}")
        made.append(folder)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return os.path.realpath(folder)

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["inline", "process"])
def runner(request):
    """Each runner in turn."""
    return request.getfixturevalue(f"{request.param}_runner")


def policy(**fields):
    """Returns a policy; ``time_limit`` is an object by hook, as on the wire."""
    limits = fields.pop("time_limit", {})
    return Policy(time_limits={**TIME_LIMITS, **limits}, **fields)


def code(source, function_id="sample", *, number=1, hooks=None, epoch="", **rules):
    """Returns a source as runners know it; ``hooks`` says which are async, as a manifest would."""
    text = textwrap.dedent(source).lstrip("\n")
    manifest = {"hooks": {name: {"async": is_async} for name, is_async in (hooks or {}).items()}}
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return Code(function_id, number, digest, text, policy(**rules), manifest, epoch=epoch)


def task(hook, payload=None, **given):
    given.setdefault("time_limit", 10.0)
    return Task(hook, {} if payload is None else payload, given.pop("context", {}), given.pop("valves", {}), **given)


async def call(runner, version, hook, payload=None, **given):
    """Returns the outcome of one call on a worker that is let go again."""
    worker = await runner.prepare(version)
    try:
        return await runner.call(worker, task(hook, payload, **given))
    finally:
        worker.release()


async def said(runner, version, payload=None, **given):
    """Returns all items of a pipe, and the outcome."""
    worker = await runner.prepare(version)
    stream = runner.stream(worker, task("pipe", payload, **given))
    items = []
    try:
        async for batch in stream:
            assert batch
            items += batch
    finally:
        await stream.aclose()
        worker.release()
    return items, stream.outcome


async def until(condition, seconds=10.0):
    """Waits until something holds; returns whether it came to that."""
    for _ in range(int(seconds * 100)):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False
