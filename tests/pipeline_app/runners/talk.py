"""A real zygote and real workers, spoken to in frames: what the server's own classes do is left out here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import textwrap
import time
from pathlib import Path

from pipeline_app.runners import bubblewrap
from pipeline_app.runners.layers import Layers, readable
from pipeline_app.runners.scratch import Scratch
from pipeline_app.runners.zygote import Zygote
from pipeline_app.worker.protocol import Reader, encode

LIMITS = {"memory_mb": 512, "disk_mb": 64, "threads": 256, "files": 256}
CONFIG = {"network": "none", "limits": LIMITS, "site": [], "environment": {}, "function": "sample"}
SECONDS = 60


class Talk:
    """One worker. ``answer`` answers its host calls: a function of method and params, of either connection."""

    def __init__(self, forked, answer=None):
        self.forked = forked
        self.frames = []
        self.asked = []
        self._answer = answer
        self._reader = Reader(2**30)
        self._new = asyncio.Event()
        self._number = 0
        self._ended = False
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._read_sync())]

    async def _read(self):
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self.forked.main, 1 << 18):
            for size, message in self._reader.feed(data):
                if message[0] == "host":
                    self.asked.append(message)
                    if self._answer is not None:
                        await self.send("reply", message[1], *self._said(message[3], message[4]))
                else:
                    self.frames.append((size, message))
            self._new.set()
        self._ended = True
        self._new.set()

    async def _read_sync(self):
        loop = asyncio.get_running_loop()
        reader = Reader(2**30)
        while data := await loop.sock_recv(self.forked.sync, 1 << 18):
            for _, (number, call, method, params) in reader.feed(data):
                self.asked.append(["host", number, call, method, params])
                answer = encode([number, *self._said(method, params)])
                await loop.sock_sendall(self.forked.sync, answer)

    def _said(self, method, params):
        try:
            return True, self._answer(method, params)
        except LookupError as error:
            return False, {"message": str(error.args[0])}

    async def send(self, *message):
        await asyncio.get_running_loop().sock_sendall(self.forked.main, encode(list(message)))

    async def until(self, wanted):
        """Returns the first frame that ``wanted`` says yes to, now or later; None when the worker has gone."""
        async with asyncio.timeout(SECONDS):
            while True:
                self._new.clear()
                for _, message in self.frames:
                    if wanted(message):
                        return message
                if self._ended:
                    return None
                await self._new.wait()

    async def begin(self, kind, *rest):
        self._number += 1
        await self.send(kind, self._number, *rest)
        return self._number

    async def end_of(self, number):
        """Returns what a ``done`` says; None when the worker has gone."""
        done = await self.until(lambda message: message[0] == "done" and message[1] == number)
        return done and done[2]

    async def load(self, source, **given):
        code = {
            "function_id": "sample",
            "number": 1,
            "sha256": "0" * 64,
            "source": textwrap.dedent(source).lstrip("\n"),
            "imports": {},
            "output_mb": 16,
            "sync_threads": 128,
            **given,
        }
        return await self.end_of(await self.begin("load", code))

    async def call(self, hook, payload=None, context=None, valves=None, user_valves=None, can_ask=False):
        number = await self.begin("call", hook, payload, context or {}, valves or {}, user_valves, can_ask)
        return await self.end_of(number)

    async def begin_stream(self, body=None, context=None, can_ask=False):
        return await self.begin("stream", body or {}, context or {}, {}, None, can_ask)

    async def stream(self, body=None, credit=True, **given):
        """Returns all items of a pipe and how it ended."""
        number = await self.begin_stream(body, **given)
        if credit:
            await self.send("credit", number, 2**40)
        done = await self.end_of(number)
        return self.items_of(number), done

    def items_of(self, number):
        return [item for _, m in self.frames if m[0] == "items" and m[1] == number for item in m[2]]

    def sizes_of(self, number):
        return [size for size, m in self.frames if m[0] == "items" and m[1] == number]

    def said(self):
        """Returns what the process itself has written."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.forked.log, 65536).decode()
        return ""

    async def gone(self):
        """Waits for the end of the process and returns its wait status."""
        async with asyncio.timeout(SECONDS):
            while not self.forked.ended:
                await asyncio.sleep(0.01)
        return self.forked.status

    def close(self):
        for task in self._tasks:
            task.cancel()
        self.forked.close()


@contextlib.asynccontextmanager
async def zygote(preload=(), site=(), bubble=False, **given):
    """A zygote with a scratch folder of its own, and everything gone afterwards; ``bubble`` puts it in bubblewrap."""
    scratch = Scratch()
    site = [Path(folder) for folder in site]
    if bubble:
        given["prefix"] = bubblewrap.prefix(readable(site), [str(scratch.path)])
    made = Zygote(
        scratch, layers=Layers(bubblewrap=False), site=site, readable=readable(site), preload=preload, **given
    )
    try:
        await made.start()
        yield made
    finally:
        await made.close()
        scratch.close()
        assert not scratch.path.exists()


@contextlib.asynccontextmanager
async def worker(source=None, answer=None, network="none", **given):
    """One worker of a zygote of its own, with a source loaded."""
    async with zygote(**given) as made:
        talk = Talk(await made.fork({**CONFIG, "network": network}), answer)
        try:
            if source is not None:
                done = await talk.load(source)
                assert done["error"] is None, done["error"]
            yield talk
        finally:
            talk.close()


def run(story):
    """Runs the coroutine function of a test and checks that no descriptor is left."""
    before = descriptors()
    asyncio.run(story())
    # Others in this process (a server's loop of an earlier test) may open and close some meanwhile.
    deadline = time.monotonic() + 5
    while left := descriptors() - before:
        assert time.monotonic() < deadline, f"left open: {left}"
        time.sleep(0.05)


def descriptors() -> set[tuple[str, str]]:
    """Returns what is open in this process, each with what it leads to.

    Left out are looks into ``/proc``: a runner of an earlier test may be counting the threads of its workers.
    """
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that the list itself was read through
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return {(number, leads) for number, leads in found if not leads.startswith("/proc/")}
