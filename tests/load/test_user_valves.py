"""Two people with different user valves, at the same time."""

from __future__ import annotations

import asyncio
import json

import pytest

PIPE = """
import asyncio
import json
import random

from pydantic import BaseModel


class Pipe:
    class Valves(BaseModel):
        shared: str = "default"

    class UserValves(BaseModel):
        secret: str = "default"

    def __init__(self):
        self.valves = self.Valves()

    async def pipe(self, body, __user__):
        seen = [body["messages"][-1]["content"]]
        for _ in range(3):
            await asyncio.sleep(random.random() / 500)
            seen.append([__user__["name"], __user__["valves"].secret, self.valves.shared])
        return json.dumps(seen)
"""

SYNC_PIPE = PIPE.replace("async def", "def").replace("await asyncio.sleep", "time.sleep").replace(
    "import asyncio", "import time"
)  # fmt: skip

FILTER = """
import asyncio
import random

from pydantic import BaseModel


class Filter:
    class UserValves(BaseModel):
        secret: str = "default"

    async def inlet(self, body, __user__):
        await asyncio.sleep(random.random() / 500)
        body["messages"][-1]["content"] += " in " + __user__["valves"].secret
        return body

    async def outlet(self, body, __user__):
        await asyncio.sleep(random.random() / 500)
        body["messages"][-1]["content"] += "out " + __user__["valves"].secret
        return body
"""


PEOPLE = ["alice", "bob", "carol"]


@pytest.fixture(scope="module")
def people(shared_scene):
    """A server with both pipes and the filter, three people, and the user valves of two of them."""
    functions = {"async_pipe": PIPE, "sync_pipe": SYNC_PIPE, "filter": FILTER}
    shared_scene.store(
        functions,
        globals=("filter",),
        valves={name: {"shared": "for all"} for name in functions if name != "filter"},
        users=PEOPLE,
        user_valves=[(name, id, {"secret": f"{name}-{id}"}) for name in PEOPLE[:2] for id in functions],
    )
    return shared_scene


@pytest.mark.parametrize("pipe", ["async_pipe", "sync_pipe"])
def test_two_people_never_see_each_others_user_valves(people, pipe):
    async def one(client, name, number):
        secret, filtered = (f"{name}-{pipe}", f"{name}-filter") if name != "carol" else ("default", "default")
        answer = await people.ask(client, pipe, f"{name} {number}")
        assert (
            answer
            == json.dumps([f"{name} {number} in {filtered}", *[[name, secret, "for all"]] * 3]) + f"out {filtered}"
        )

    async def everybody():
        clients = {name: people.client(name, connections=12) for name in PEOPLE}
        await asyncio.gather(*(one(clients[PEOPLE[n % 3]], PEOPLE[n % 3], n) for n in range(600)))
        for client in clients.values():
            await client.aclose()

    asyncio.run(everybody())
