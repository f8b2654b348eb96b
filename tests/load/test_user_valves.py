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


@pytest.mark.parametrize("source", [PIPE, SYNC_PIPE], ids=["async", "sync"])
def test_two_people_never_see_each_others_user_valves(scene, source):
    people = ["alice", "bob", "carol"]
    scene.store(
        {"pipe": source, "filter": FILTER},
        globals=("filter",),
        valves={"pipe": {"shared": "for all"}},
        users=["bob", "carol"],
        user_valves=[(name, id, {"secret": f"{name}-{id}"}) for name in people[:2] for id in ("pipe", "filter")],
    )

    async def one(client, name, number):
        secret, filtered = (f"{name}-pipe", f"{name}-filter") if name != "carol" else ("default", "default")
        answer = await scene.ask(client, "pipe", f"{name} {number}")
        assert (
            answer
            == json.dumps([f"{name} {number} in {filtered}", *[[name, secret, "for all"]] * 3]) + f"out {filtered}"
        )

    async def everybody():
        clients = {name: scene.client(name, connections=12) for name in people}
        await asyncio.gather(*(one(clients[people[n % 3]], people[n % 3], n) for n in range(600)))
        for client in clients.values():
            await client.aclose()

    asyncio.run(everybody())
