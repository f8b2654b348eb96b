"""A hostile worker, played by the test at the other end of the sockets: what it says, what it does not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import time
from pathlib import Path

import pytest

from pipeline_app.errors import RequestError
from pipeline_app.runners import connection
from pipeline_app.runners.nativelog import NativeLog
from pipeline_app.runners.requests import Requests
from pipeline_app.runners.workers import RunningWorker

from .conftest import code, task, until


class FakeFork:
    """What a zygote gives, with the other ends of the sockets in ``main_end`` and ``sync_end``."""

    def __init__(self):
        self.main, self.main_end = socket.socketpair()
        self.sync, self.sync_end = socket.socketpair()
        self.log, self.log_end = os.pipe()
        for endpoint in (self.main, self.sync, self.main_end, self.sync_end):
            endpoint.setblocking(False)
        self.pid = os.getpid()
        self.folder = Path("/nowhere")
        self.on_exit = None
        self.killed = 0

    def kill(self):
        self.killed += 1
        self.on_exit(9)

    def close(self):
        self.main_end.close()
        self.sync_end.close()
        os.close(self.log_end)


class HostCalls:
    async def call(self, identity, method, params):
        if method == "fail":
            raise RequestError("Not for you.")
        if method == "parts":
            return self.parts(params["n"])
        return {"caller": identity.caller, "hook": identity.hook, "params": params}

    async def parts(self, n):
        for number in range(n):
            yield f"{number}" + "x" * 200_000


class Peer:
    """The worker under test and the test's end of it."""

    def __init__(self, **rules):
        self.rules = rules

    async def __aenter__(self):
        self.loop = asyncio.get_running_loop()
        self.fork = FakeFork()
        self.ends = []
        self.worker = RunningWorker(
            code("class Pipe: pass", "hostile", **self.rules),
            self.fork,
            Requests(HostCalls(), None),
            NativeLog(self.fork.log),
            on_idle=lambda worker: None,
            on_retire=lambda worker: None,
            on_end=lambda worker, why: self.ends.append(why),
        )
        await self.worker.open()
        self.buffer = b""
        return self

    async def __aexit__(self, *_):
        self.worker.kill(connection_over())
        await asyncio.sleep(0.01)
        self.fork.close()

    async def raw(self, data, end=None):
        await self.loop.sock_sendall(end or self.fork.main_end, data)

    async def say(self, *messages, end=None):
        frames = b"".join(frame(message) for message in messages)
        await self.raw(frames, end)

    async def hear(self, end=None):
        end = end or self.fork.main_end
        while True:
            if len(self.buffer) >= 4:
                (size,) = struct.unpack_from(">I", self.buffer)
                if len(self.buffer) >= 4 + size:
                    message, self.buffer = json.loads(self.buffer[4 : 4 + size]), self.buffer[4 + size :]
                    return message
            self.buffer += await asyncio.wait_for(self.loop.sock_recv(end, 1 << 20), 5)


def connection_over():
    from pipeline_app.runners.exits import closed_by_us

    return closed_by_us("the test is over")


def frame(message):
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


DONE = {"value": None, "metadata": None, "cpu": None, "output": [], "error": None}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (struct.pack(">I", 1 << 31), "a frame of 2147483648 bytes"),
        (struct.pack(">I", 3) + b"{x}", "a frame that is no JSON"),
        (struct.pack(">I", 2) + b"{}", "a frame that is no array with something in it"),
        (struct.pack(">I", 2) + b"[]", "a frame that is no array with something in it"),
        (struct.pack(">I", 2) + b"\xff\xff", "a frame that is no JSON"),
        (struct.pack(">I", 200_000) + b"[" * 200_000, "a frame that is no JSON"),
        (frame(["hello"]), "a message of an unknown kind: 'hello'"),
        (frame([["done"], 1, {}]), "a message of an unknown kind"),
        (frame(["done", "1", {}]), "a message of an unknown kind: 'done'"),
        (frame(["done", 1, []]), "a call's end is no object"),
        (frame(["done", 1, {**DONE, "metadata": 1}]), "metadata is no object"),
        (frame(["done", 1, {**DONE, "cpu": -1}]), "CPU time is no number of seconds"),
        (frame(["done", 1, {**DONE, "output": [1]}]), "a line of captured output is no object"),
        (frame(["done", 1, {**DONE, "error": {"kind": "other"}}]), "an error of an unknown kind"),
        (
            frame(["done", 1, {**DONE, "error": {"kind": "hook", "data": {"type": 1}}}]),
            "an error without type or message",
        ),
        (frame(["done", 1, {**DONE, "value": [1]}]), "inlet answered no object"),
        (frame(["items", 1, []]), "items that are no list with something in it"),
        (frame(["items", 1, [7]]), "an item that is neither text, chunk, event nor a whole answer"),
        (frame(["event", 1, "text"]), "an event is no object"),
        (frame(["host", 1, 1, 5, {}]), "a message of an unknown kind: 'host'"),
    ],
)
async def test_what_is_no_message_ends_the_worker_and_says_so(said, sentence):
    async with Peer() as peer:
        call = peer.worker.begin("call", "inlet", {}, task=task("inlet", {}))
        await peer.raw(said)
        await call.wait()
        assert peer.fork.killed
        assert "it was ended, because it sent what no worker may send: " in call.failure.message
        assert sentence in call.failure.message
        assert (call.failure.code, peer.ends[0].crash) == ("worker_died", True)


async def test_more_items_than_credit_end_the_worker():
    async with Peer() as peer:
        call = peer.worker.begin("stream", {}, task=task("pipe", {}))
        with contextlib.suppress(ConnectionError):
            await peer.say(*(["items", call.number, ["x" * 200_000]] for _ in range(4)))
        assert await until(lambda: peer.ends)
        assert "more items than there was credit for" in peer.ends[0].sentence


async def test_credit_is_given_for_what_was_taken():
    async with Peer() as peer:
        call = peer.worker.begin("stream", {}, task=task("pipe", {}))
        assert (await peer.hear())[0] == "stream"
        await peer.say(["items", call.number, ["a"]], ["items", call.number, ["b", {"c": 1}]])
        assert await call.take() == ["a", "b", {"c": 1}]
        both = len(frame(["items", 1, ["a"]])) + len(frame(["items", 1, ["b", {"c": 1}]]))
        assert await peer.hear() == ["credit", call.number, both]
        await peer.say(["items", call.number, ["x" * 200_000]], ["done", call.number, DONE])
        assert len((await call.take())[0]) == 200_000
        assert await call.take() == []
        assert call.done.error is None


async def test_however_short_items_are_a_consumer_gets_so_many_at_once_and_others_have_their_turn():
    async with Peer() as peer:
        call = peer.worker.begin("stream", {}, task=task("pipe", {}))
        assert (await peer.hear())[0] == "stream"
        said = ["items", call.number, ["x"] * 10_000]
        await peer.say(said)
        assert await until(lambda: len(call._ready) == 10_000)
        turns = []
        loop = asyncio.get_running_loop()
        sizes = []
        for _ in range(5):
            loop.call_soon(turns.append, len(sizes))
            sizes.append(len(await call.take()))
        assert sizes == [2000] * 5
        assert turns == [0, 1, 2, 3]
        assert await peer.hear() == ["credit", call.number, len(frame(said))]


async def test_frames_of_calls_that_have_ended_are_dropped():
    async with Peer() as peer:
        call = peer.worker.begin("call", "action", {}, task=task("action", {}))
        done = ["done", call.number, {**DONE, "value": 1}]
        await peer.say(done, done, ["items", call.number, ["late"]], ["event", 77, {}], ["pong", 5])
        await call.wait()
        assert call.done.value == 1
        second = peer.worker.begin("call", "action", {}, task=task("action", {}))
        await peer.say(["done", second.number, {**DONE, "value": 2}])
        await second.wait()
        assert second.done.value == 2


async def test_a_host_call_is_made_for_whom_the_server_knows():
    async with Peer() as peer:
        job = task("action", {}, caller="alice")
        call = peer.worker.begin("call", "action", {}, task=job)
        await peer.hear()
        await peer.say(["host", 1, call.number, "users.get", {"caller": "mallory"}])
        assert await peer.hear() == [
            "reply", 1, True, {"caller": "alice", "hook": "action", "params": {"caller": "mallory"}},
        ]  # fmt: skip
        await peer.say(["host", 2, call.number, "fail", {}], ["host", 3, 99, "users.get", {}])
        assert await peer.hear() == ["reply", 2, False, {"message": "Not for you."}]
        nobody = "The server can only be asked while a call runs, and by its own code."
        assert await peer.hear() == ["reply", 3, False, {"message": nobody}]
        await peer.say([7, call.number, "users.get", {}], end=peer.fork.sync_end)
        answer = await peer.hear(peer.fork.sync_end)
        assert answer == [7, True, {"caller": "alice", "hook": "action", "params": {}}]


async def test_an_answer_in_pieces_waits_for_credit():
    async with Peer() as peer:
        call = peer.worker.begin("call", "action", {}, task=task("action", {}))
        await peer.hear()
        await peer.say(["host", 4, call.number, "parts", {"n": 5}])
        parts = [await peer.hear() for _ in range(2)]
        assert [part[:2] for part in parts] == [["part", 4]] * 2
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.hear(), 0.1)
        await peer.say(["take", 4, 2 * (200_000 + 20)])
        rest = [await peer.hear() for _ in range(2)]
        await peer.say(["take", 4, 400_000])
        rest += [await peer.hear() for _ in range(2)]
        assert rest[-1] == ["reply", 4, True, None]


async def test_a_flood_of_requests_is_slowed_down_and_the_loop_stays_free():
    async with Peer() as peer:
        call = peer.worker.begin("call", "action", {}, task=task("action", {}))
        flood = frame(["host", 1, call.number, "fail", {}]) * 50_000
        sending = asyncio.create_task(peer.raw(flood))
        drain = asyncio.create_task(drained(peer))
        worst, ends = 0.0, time.monotonic() + 1.5
        while time.monotonic() < ends:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - began - 0.005)
        assert not sending.done()
        assert worst < 0.1
        sending.cancel()
        drain.cancel()
        await asyncio.wait([sending, drain])


async def test_long_frames_that_are_good_for_nothing_cost_as_much_as_many_short_ones(monkeypatch):
    """Each takes its reader much longer than its writer."""
    monkeypatch.setattr(connection, "RATE", 50.0)
    async with Peer() as peer:
        call = peer.worker.begin("call", "action", {}, task=task("action", {}))
        assert (await peer.hear())[0] == "call"
        long = ["event", 99, {"type": "x", "data": [{}] * 140_000}]
        saying = asyncio.create_task(peer.say(long, long, long, ["host", 1, call.number, "fail", {}]))
        hearing = asyncio.create_task(peer.hear())
        done, _ = await asyncio.wait([hearing], timeout=0.5)
        assert not done
        assert await hearing == ["reply", 1, False, {"message": "Not for you."}]
        await saying


async def drained(peer):
    while True:
        await peer.loop.sock_recv(peer.fork.main_end, 1 << 20)


async def test_a_worker_that_reads_nothing_is_ended(monkeypatch):
    monkeypatch.setattr(connection, "STALLED_SECONDS", 0.3)
    async with Peer() as peer:
        calls = [peer.worker.begin("call", "action", "x" * 9_000_000, task=task("action", {})) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert peer.worker.crowded
        for _ in range(40):
            peer.worker.look()
            await asyncio.sleep(0.02)
        assert peer.ends[0].sentence == "it did not read what was sent to it"
        assert all(call.failure is not None for call in calls)


async def test_what_a_worker_said_last_counts_although_it_died():
    async with Peer() as peer:
        call = peer.worker.begin("call", "action", {}, task=task("action", {}))
        await peer.hear()
        os.write(peer.fork.log_end, b"last words\n")
        await peer.say(["done", call.number, {**DONE, "value": 1}])
        peer.fork.main_end.shutdown(socket.SHUT_RDWR)
        peer.fork.on_exit(11)
        await call.wait()
        assert call.done.value == 1
        assert await until(lambda: peer.ends)
        assert peer.ends[0].sentence == "it was ended by a segmentation fault"
        assert peer.worker.log == "last words\n"


async def test_output_is_kept_up_to_its_limit_however_much_is_told():
    async with Peer() as peer:
        call = peer.worker.begin("call", "action", {}, task=task("action", {}))
        lines = [{"stream": "stdout", "text": "x" * 1000}] * 1000
        await peer.say(["done", call.number, {**DONE, "output": lines}])
        await call.wait()
        assert sum(len(line["text"]) for line in call.outcome().output) < 70_000
