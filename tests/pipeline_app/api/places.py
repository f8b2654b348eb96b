"""One installation of one or two server processes, for tests of what goes on between clients, runs and processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.servers import Server

PEOPLE = """
from functions_app.models import Function, User
from pipeline_app.models import ApiKey
User.objects.create_superuser('alice', 'a@example.org')
User.objects.create_user('bob', 'b@example.org')
User.objects.create_user('carl', 'c@example.org')
"""

STORE = """
for id, source in SOURCES.items():
    function = Function.objects.create_function(id, id, source)
    assert function.live, function.newest.error
    function.is_active, function.is_global = True, function.kind in ("action", "filter")
    function.save()
for user in User.objects.order_by("username"):
    print(ApiKey.objects.issue(user, "tests")[1])
"""


class Place:
    """Servers of one installation, and clients of alice, who runs it, and of bob and carl, who don't."""

    def __init__(self, servers: list[Server], sources: dict[str, str]) -> None:
        self.servers = servers
        first = servers[0]
        keys = first.shell(f"{PEOPLE}\nSOURCES = {sources!r}\n{STORE}").split()
        self.keys = dict(zip(("alice", "bob", "carl"), keys, strict=True))

    def client(self, name: str, server: int = 0) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.keys[name]}"}
        return httpx.AsyncClient(base_url=self.servers[server].url, headers=headers, timeout=60)


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "go"}], **more}


class Stream:
    """A stream while it is read: ``frames`` so far, each ``(id, data)``; the end mark as text."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.run = response.headers["x-run-id"]
        self.frames: list[tuple[int | None, Any]] = []
        self._lines = response.aiter_lines()

    async def __aiter__(self) -> AsyncIterator[Any]:
        number = None
        async for line in self._lines:
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                data = line[6:]
                self.frames.append((number, data if data == "[DONE]" else json.loads(data)))
                number = None
                yield self.frames[-1][1]

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Reads on to an event that has these members, and returns it."""
        async for data in self:
            event = data.get("event") if isinstance(data, dict) else None
            if event and all(event.get(name) == value for name, value in wanted.items()):
                return event
        raise AssertionError(f"no event {wanted} in {self.frames}")

    async def rest(self) -> list[Any]:
        """Reads to the end, and returns the data of all frames."""
        async for _ in self:
            pass
        return [data for _, data in self.frames]

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return text_of(data for _, data in self.frames)

    @property
    def numbers(self) -> list[int | None]:
        return [number for number, _ in self.frames]


def text_of(frames: Any) -> str:
    chunks = [frame for frame in frames if isinstance(frame, dict) and frame.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


async def ended(client: httpx.AsyncClient, run: str) -> dict[str, Any]:
    """Returns a run, once it has ended."""
    for _ in range(400):
        answer = await client.get(f"/api/v1/runs/{run}")
        if answer.status_code == 200 and answer.json()["outcome"] != "running":
            return answer.json()
        await asyncio.sleep(0.05)
    raise AssertionError(f"run {run} does not end: {answer.text}")
