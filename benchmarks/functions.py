"""The functions that are measured, as an author would write them."""

from __future__ import annotations

ANSWER = "Hello! This is the answer to your question."
CHUNKS = 500
FILTERS = 5


def chunk_text(number: int) -> str:
    """Returns the text of one chunk of the stream."""
    return f"word {number % 10} "


HELLO = f"""
class Pipe:
    async def pipe(self, body):
        return {ANSWER!r}
"""

HELLO_SYNC = HELLO.replace("async def", "def")

STREAM = f"""
class Pipe:
    async def pipe(self, body):
        for number in range({CHUNKS}):
            yield f"word {{number % 10}} "
"""

STREAM_SYNC = f"""
class Pipe:
    def pipe(self, body):
        for number in range({CHUNKS}):
            yield f"word {{number % 10}} "
"""

FIRST = """
import asyncio


class Pipe:
    async def pipe(self, body):
        yield "first"
        await asyncio.sleep(0.01)
        yield " and last"
"""

SLEEPER = f"""
import asyncio


class Pipe:
    async def pipe(self, body):
        await asyncio.sleep(0.05)
        return {ANSWER!r}
"""

SLEEPER_SYNC = f"""
import time


class Pipe:
    def pipe(self, body):
        time.sleep(0.05)
        return {ANSWER!r}
"""

_VALVES = f"""
import httpx
from pydantic import BaseModel, Field


class Pipe:
    class Valves(BaseModel):
        api_key: str = Field(default="", description="The key of the service.")
        timeout: int = Field(default=30, ge=1)

    def __init__(self):
        self.valves = self.Valves()

    async def pipe(self, body):
        return {ANSWER!r}
"""
_CLIENT = _VALVES.replace("self.Valves()", "self.Valves()\n        self.client = httpx.AsyncClient()")

ORDINARY = {"a constant": HELLO, "valves and httpx": _VALVES, "an open httpx client, with its certificates": _CLIENT}
"""What most published pipes consist of, step by step."""

PIPES = {
    "hello": HELLO,
    "hello_sync": HELLO_SYNC,
    "stream": STREAM,
    "stream_sync": STREAM_SYNC,
    "first": FIRST,
    "sleeper": SLEEPER,
    "sleeper_sync": SLEEPER_SYNC,
}

_FILTER = """
class Filter:
    def __init__(self):
        self.seen = 0

    {define} inlet(self, body):
        body["messages"][-1]["content"] += " {number}"
        return body

    {define} stream(self, event):
        for choice in event["choices"]:
            if "content" in choice["delta"]:
                choice["delta"]["content"] += "{number}"
        return event

    {define} outlet(self, body):
        body["messages"][-1]["content"] += "{number}"
        return body
"""


def filters(kind: str) -> dict[str, str]:
    """Returns five global filters by id, "async" or "sync" ones; each leaves its number in everything."""
    define = "async def" if kind == "async" else "def"
    return {f"filter_{n}": _FILTER.format(define=define, number=n) for n in range(1, FILTERS + 1)}


def edited(number: int) -> str:
    """Returns a pipe that answers with the number of its edit."""
    return f'class Pipe:\n    async def pipe(self, body):\n        return "edit {number}"\n'
