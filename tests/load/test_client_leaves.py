"""A client that goes away stops what runs for it."""

from __future__ import annotations

import asyncio
import socketserver
import threading
import time

import pytest

HEAD = """
import asyncio
import socket
import time


def tick(body, mark=b"."):
    host, port = body["messages"][-1]["content"].split()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(mark)


def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


"""

LOOP = """
class {kind}:
    {define} {hook}(self, body):
        {first}
        try:
            while True:
                tick(body)
                {each}
        finally:
            tick(body, b"!")
"""


def endless(define, each, first="pass", kind="Pipe", hook="pipe"):
    """Returns a function that sends a mark every 20 ms, and another one when it ends."""
    return HEAD + LOOP.format(kind=kind, hook=hook, define=define, each=each, first=first)


PIPES = {
    "async_generator": endless("async def", 'yield "word "; await asyncio.sleep(0.02)'),
    "async_def": endless("async def", "await asyncio.sleep(0.02)"),
    "sync_generator": endless("def", 'yield "word "; time.sleep(0.02)'),
    "python_code": endless("def", "work(0.02)"),
    "python_code_in_a_generator": endless("def", "work(0.02)", first='yield "word "'),
    "silent_async_generator": endless("async def", "await asyncio.sleep(0.02)", first='yield "word "'),
}
INLET = endless("async def", "await asyncio.sleep(0.02)", kind="Filter", hook="inlet")

BYSTANDER = """
class Pipe:
    async def pipe(self, body):
        return "still here"
"""


class Marks(socketserver.ThreadingTCPServer):
    """Collects what functions send while they run."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        self.seen = b""
        super().__init__(("127.0.0.1", 0), Mark)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self):
        return "{}:{}".format(*self.server_address)


class Mark(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.seen += self.request.recv(1)


@pytest.fixture(scope="module")
def marks():
    with Marks() as running:
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def pipes(shared_scene, marks):
    """A server with all pipes, and one more."""
    shared_scene.store(PIPES | {"bystander": BYSTANDER}, allow=(marks.address,))
    return shared_scene


def wait_for(condition, what):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def has_ended(marks):
    """Whether the last mark came, or no more marks come: on a slow machine the last one may be cut off."""
    before = marks.seen
    if b"!" not in before:
        time.sleep(1)
    return b"!" in marks.seen or marks.seen == before


def assert_it_stops(scene, marks, model, stream):
    marks.seen = b""
    with scene.connection(model, marks.address.replace(":", " "), stream=stream):
        wait_for(lambda: len(marks.seen) >= 3, f"{model} did not begin:\n{scene.server.log}")
    wait_for(lambda: has_ended(marks), f"{model} goes on for a client that has gone")
    ended = marks.seen
    assert ended.strip(b".") in (b"!", b"")
    time.sleep(0.2)
    assert marks.seen == ended, f"{model} went on after it had ended"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "not streamed"])
def test_a_client_that_goes_away_stops_the_pipe(pipes, marks, stream):
    for name in PIPES:
        assert_it_stops(pipes, marks, name, stream)

    async def bystander():
        async with pipes.client() as client:
            return await pipes.ask(client, "bystander")

    assert asyncio.run(bystander()) == "still here"


def test_a_client_that_goes_away_stops_a_filter(scene, marks):
    functions = {"slow_inlet": INLET, "never_called": PIPES["async_def"]}
    scene.store(functions, globals=("slow_inlet",), allow=(marks.address,))
    assert_it_stops(scene, marks, "never_called", True)
