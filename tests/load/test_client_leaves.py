"""A client that goes away stops what runs for it."""

from __future__ import annotations

import asyncio
import time

import pytest

HEAD = """
import asyncio
import time
from pathlib import Path


def tick(body, mark="."):
    with Path(body["messages"][-1]["content"]).open("a") as file:
        file.write(mark)
"""

PIPES = {
    "async_generator": """
class Pipe:
    async def pipe(self, body):
        try:
            while True:
                tick(body)
                yield "word "
                await asyncio.sleep(0.02)
        finally:
            tick(body, "!")
""",
    "async_def": """
class Pipe:
    async def pipe(self, body):
        try:
            while True:
                tick(body)
                await asyncio.sleep(0.02)
        finally:
            tick(body, "!")
""",
    "sync_generator": """
class Pipe:
    def pipe(self, body):
        try:
            while True:
                tick(body)
                yield "word "
                time.sleep(0.02)
        finally:
            tick(body, "!")
""",
    "python_code": """
class Pipe:
    def pipe(self, body):
        try:
            last = 0
            while True:
                if time.monotonic() - last > 0.02:
                    last = time.monotonic()
                    tick(body)
        finally:
            tick(body, "!")
""",
    "python_code_in_a_generator": """
class Pipe:
    def pipe(self, body):
        yield "word "
        try:
            last = 0
            while True:
                if time.monotonic() - last > 0.02:
                    last = time.monotonic()
                    tick(body)
        finally:
            tick(body, "!")
""",
    "silent_async_generator": """
class Pipe:
    async def pipe(self, body):
        yield "word "
        try:
            while True:
                tick(body)
                await asyncio.sleep(0.02)
        finally:
            tick(body, "!")
""",
}

INLET = """
class Filter:
    async def inlet(self, body):
        if body["model"] == "bystander":
            return body
        try:
            while True:
                tick(body)
                await asyncio.sleep(0.02)
        finally:
            tick(body, "!")
"""

BYSTANDER = """
class Pipe:
    async def pipe(self, body):
        return "still here"
"""


def wait_for(condition, what):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def assert_it_stops(scene, tmp_path, model, stream):
    marks = tmp_path / "marks"
    marks.touch()
    with scene.connection(model, str(marks), stream=stream):
        wait_for(lambda: len(marks.read_text()) >= 3, f"{model} did not begin:\n{scene.server.log}")
    wait_for(lambda: "!" in marks.read_text(), f"{model} goes on for a client that has gone")
    ended = marks.read_text()
    assert ended.strip(".") == "!"
    time.sleep(0.2)
    assert marks.read_text() == ended, f"{model} went on after it had ended"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "not streamed"])
def test_a_client_that_goes_away_stops_the_pipe(scene, tmp_path, stream):
    scene.store({name: HEAD + source for name, source in PIPES.items()} | {"bystander": BYSTANDER})
    for name in PIPES:
        folder = tmp_path / name
        folder.mkdir()
        assert_it_stops(scene, folder, name, stream)

    async def bystander():
        async with scene.client() as client:
            return await scene.ask(client, "bystander")

    assert asyncio.run(bystander()) == "still here"


def test_a_client_that_goes_away_stops_a_filter(scene, tmp_path):
    scene.store({"slow_inlet": HEAD + INLET, "never_called": HEAD + PIPES["async_def"]}, globals=("slow_inlet",))
    assert_it_stops(scene, tmp_path, "never_called", True)
