"""Two servers of one installation: what was changed beside one is in the other's next answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.load.scene import Scene
from tests.servers import Server

PIPE = """
from pydantic import BaseModel


class Pipe:
    class Valves(BaseModel):
        number: int = 0

    class UserValves(BaseModel):
        number: int = 0

    def __init__(self):
        self.valves = self.Valves()

    async def pipe(self, body, __user__):
        return f"code 0, valves {self.valves.number}, user valves {__user__['valves'].number}"
"""

CHANGES = f"""
from functions_app.models import Function, User, UserValves, Valves
source = {PIPE!r}
alice = User.objects.get(username="alice")
---
what, number = line.split()
function = Function.objects.get(pk="edited")
if what == "code":
    assert function.save_source(source.replace("code 0", "code " + number)).publish()
elif what == "valves":
    Valves.objects.set_values(function, {{"number": int(number)}})
elif what == "user":
    UserValves.objects.set_values(function, alice, {{"number": int(number)}})
elif what == "switch":
    function.is_active = number == "1"
    function.save()
answer = "done"
"""


@pytest.fixture(scope="module")
def two(shared_scene, empty_database) -> Iterator[tuple[Scene, Server]]:
    """A scene with the function, and a second server of the same installation."""
    b = Server(shared_scene.server.data_dir, empty_database, environment={})
    b.start()
    shared_scene.store({"edited": PIPE})
    yield shared_scene, b
    b.stop()


def assert_never_stale_between(start_server, changes, **environment):
    a = start_server(**environment)
    b = start_server(a.data_dir, **environment)
    scene = Scene(a)
    scene.store({"edited": PIPE})
    assert_never_stale(scene, b, changes)


def assert_never_stale(scene, b, changes):
    now = {"code": 0, "valves": 0, "user": 0}

    async def edits():
        with scene.command(CHANGES) as command:
            async with scene.client() as through_a, scene.client(server=b) as through_b:
                for number in range(1, changes + 1):
                    what = ("code", "code", "valves", "user")[number % 4]
                    await asyncio.to_thread(command.do, f"{what} {number}")
                    now[what] = number
                    wanted = f"code {now['code']}, valves {now['valves']}, user valves {now['user']}"
                    assert await scene.ask(through_b, "edited") == wanted
                    if number % 10 == 0:
                        assert await scene.ask(through_a, "edited") == wanted
                await asyncio.to_thread(command.do, "switch 0")
                gone = await through_b.post("/v1/chat/completions", json=scene.body("edited", "hello"))
                assert gone.status_code == 404
                await asyncio.to_thread(command.do, "switch 1")
                await scene.ask(through_b, "edited")

    asyncio.run(edits())


def test_no_answer_is_stale_after_two_hundred_changes(two):
    assert_never_stale(*two, 200)


def test_no_answer_is_stale_with_redis(start_server, redis_url):
    assert_never_stale_between(start_server, 60, CACHE_URL=redis_url)


def test_no_answer_is_stale_with_postgresql(start_server, postgres_url):
    assert_never_stale_between(start_server, 40, DATABASE_URL=postgres_url)


def test_no_answer_is_stale_with_postgresql_and_redis(start_server, postgres_url, redis_url):
    assert_never_stale_between(start_server, 40, DATABASE_URL=postgres_url, CACHE_URL=redis_url)


def test_a_revoked_key_opens_nothing_at_the_other_server(two):
    scene, b = two
    scene.store(users=["bob"])
    revoke = "from django.utils import timezone\nfrom pipeline_app.models import ApiKey\n---\n"
    revoke += "ApiKey.objects.filter(user__username=line).update(revoked_at=timezone.now())\nanswer = 'done'\n"

    async def use():
        with scene.command(revoke) as command:
            async with scene.client("bob", server=b) as through_b:
                await scene.ask(through_b, "edited")
                await asyncio.to_thread(command.do, "bob")
                answer = await through_b.post("/v1/chat/completions", json=scene.body("edited", "hello"))
                assert answer.status_code == 401

    asyncio.run(use())


@pytest.mark.parametrize("workers", [2])
def test_no_answer_is_stale_with_two_workers_behind_one_port(start_server, workers):
    server = start_server(workers=workers)
    scene = Scene(server)
    scene.store({"edited": PIPE})

    async def edits():
        with scene.command(CHANGES) as command:
            for number in range(1, 31):
                await asyncio.to_thread(command.do, f"code {number}")
                for _ in range(3):  # a new connection each time: any of the workers may take it
                    async with scene.client() as client:
                        assert await scene.ask(client, "edited") == f"code {number}, valves 0, user valves 0"

    asyncio.run(edits())
