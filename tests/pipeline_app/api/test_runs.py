"""Runs over HTTP: looking at one, and stopping one that goes on, in a real server."""

from __future__ import annotations

import asyncio
import time
import uuid

import httpx
import pytest
from asgiref.sync import sync_to_async

from pipeline_app.models import ApiKey, Run
from pipeline_app.runs import Record, log
from pipeline_app.snapshot import person_of
from tests.pipeline_app.api.places import Place, chat, ended
from tests.pipeline_app.conftest import API

RUN = "/api/v1/runs/{}"

SOURCES = {
    "talker": """
import asyncio

class Pipe:
    async def pipe(self, body):
        print("I began")
        for number in range(2000):
            yield f"{number} "
            await asyncio.sleep(0.02)
""",
    "narrow": """
import asyncio

class Pipe:
    async def pipe(self, body):
        for number in range(2000):
            yield f"{number} "
            await asyncio.sleep(0.02)
""",
    "flood": """
class Pipe:
    def pipe(self, body):
        while True:
            yield "x" * 10000
""",
    "thinker": """
import time

class Pipe:
    def pipe(self, body):
        print("thinking")
        for _ in range(2000):
            time.sleep(0.02)
        return "done"
""",
    "after": """
class Filter:
    def outlet(self, body):
        print("saw", len(body["messages"][-1]["content"]) > 0)
        return body
""",
    "slow": """
import asyncio

class Filter:
    toggle = True

    async def inlet(self, body):
        await asyncio.sleep(60)
        return body
""",
    "long": """
import asyncio

class Action:
    async def action(self, body):
        await asyncio.sleep(60)
""",
}

POLICIES = {"narrow": {"concurrency": 1}, "slow": {"on_error": "skip", "time_limit": 100}}


@pytest.fixture(scope="module")
def place(one_server) -> Place:
    made = Place([one_server], SOURCES)
    headers = {"Authorization": f"Bearer {made.keys['alice']}"}
    for function, policy in POLICIES.items():
        address = f"{one_server.url}/api/v1/functions/id/{function}/policy"
        assert httpx.post(address, json=policy, headers=headers).status_code == 200
    return made


async def began(stream: httpx.Response) -> tuple[str, list[str]]:
    """Returns the run of a stream and what has come of it, once something has."""
    lines = stream.aiter_lines()
    seen = [await anext(lines)]
    stream.rest = lines
    return stream.headers["x-run-id"], seen


@pytest.mark.parametrize(("who", "by"), [("bob", "its owner"), ("alice", "an administrator")])
async def test_a_stream_is_stopped_by_its_owner_or_an_admin_and_the_client_is_told(place, who, by):
    async with place.client("bob") as bob, place.client(who) as stopper:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("talker", stream=True)) as stream:
            run, seen = await began(stream)
            running = (await stopper.get(RUN.format(run))).json()
            assert (running["outcome"], running["model"], running["kind"]) == ("running", "talker", "chat")
            started = time.monotonic()
            answer = await stopper.delete(RUN.format(run))
            assert time.monotonic() - started < 5
            assert (answer.status_code, answer.json()) == (200, {"id": run, "stopped": True})
            text = "\n".join(seen + [line async for line in stream.rest])
        assert f'"message":"Run {run} was stopped by {by}."' in text
        assert '"code":"run_stopped"' in text
        assert text.strip().endswith("data: [DONE]")
        async with place.client("alice") as alice:
            row = await ended(alice, run)
        assert (row["outcome"], row["error"]) == ("stopped", f"Run {run} was stopped by {by}.")
        pipe = next(step for step in row["steps"] if step["hook"] == "pipe")
        assert pipe["exit"]
        assert "I began" in pipe["output"][0]["text"]
        assert (await stopper.delete(RUN.format(run))).status_code == 404


async def test_what_went_out_before_a_stop_is_seen_by_the_outlets(place):
    async with place.client("bob") as bob, place.client("alice") as alice:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("talker", stream=True)) as stream:
            run, _ = await began(stream)
            assert (await bob.delete(RUN.format(run))).status_code == 200
            async for _ in stream.rest:
                pass
        row = await ended(alice, run)
        outlet = next(step for step in row["steps"] if step["hook"] == "outlet")
        assert "error" not in outlet
        assert "saw True" in outlet["output"][0]["text"]


@pytest.mark.parametrize("model", ["talker", "thinker"])
async def test_a_client_that_waits_names_its_own_request_id_and_gets_an_error(place, model):
    name = f"mine-{uuid.uuid4().hex}"
    async with place.client("bob") as bob, place.client("carl") as carl, place.client("alice") as alice:
        waiting = asyncio.create_task(
            bob.post("/v1/chat/completions", json=chat(model), headers={"X-Request-ID": name})
        )
        while (await bob.get(RUN.format(name))).status_code == 404:
            assert not waiting.done(), waiting.result().text
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert (await carl.get(RUN.format(name))).status_code == 404
        refused = await carl.delete(RUN.format(name))
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "run_not_found")
        # Any client may have chosen that name: an administrator, too, means by it a request of their own.
        assert (await alice.delete(RUN.format(name))).status_code == 404
        assert not waiting.done()
        assert (await bob.delete(RUN.format(name))).status_code == 200
        answer = await waiting
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "run_stopped"
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-run-id"]
        # The function goes on answering: who comes next is not held up.
        async with bob.stream("POST", "/v1/chat/completions", json=chat("talker", stream=True)) as stream:
            run, _ = await began(stream)
            await bob.delete(RUN.format(run))


async def test_a_stop_is_never_skipped_by_a_filter_that_may_fail(place):
    name = f"mine-{uuid.uuid4().hex}"
    async with place.client("bob") as bob:
        waiting = asyncio.create_task(
            bob.post("/v1/chat/completions", json=chat("talker", filter_ids=["slow"]), headers={"X-Request-ID": name})
        )
        while (await bob.get(RUN.format(name))).status_code == 404:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        await bob.delete(RUN.format(name))
        answer = await waiting
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_stopped")
        row = await ended(bob, answer.headers["x-run-id"])
        assert [(step["hook"], step["function"]) for step in row["steps"]] == [("inlet", "slow")]


async def test_a_call_that_waits_for_a_place_is_stopped_at_once(place):
    name = f"mine-{uuid.uuid4().hex}"
    async with (
        place.client("bob") as bob,
        bob.stream("POST", "/v1/chat/completions", json=chat("narrow", stream=True)) as first,
    ):
        run, _ = await began(first)
        waiting = asyncio.create_task(
            bob.post("/v1/chat/completions", json=chat("narrow"), headers={"X-Request-ID": name})
        )
        while (await bob.get(RUN.format(name))).status_code == 404:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        started = time.monotonic()
        assert (await bob.delete(RUN.format(name))).status_code == 200
        answer = await waiting
        assert time.monotonic() - started < 3
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_stopped")
        assert (await bob.get(RUN.format(run))).json()["outcome"] == "running"
        await bob.delete(RUN.format(run))


async def test_an_action_is_stopped(place):
    name = f"mine-{uuid.uuid4().hex}"
    async with place.client("alice") as alice:
        waiting = asyncio.create_task(
            alice.post("/api/chat/actions/long", json={"messages": []}, headers={"X-Request-ID": name})
        )
        while (await alice.get(RUN.format(name))).status_code == 404:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert (await alice.delete(RUN.format(name))).status_code == 200
        answer = await waiting
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_stopped")
        assert answer.json()["detail"] == answer.json()["error"]["message"]


async def test_a_stop_reaches_a_run_whose_client_does_not_read(place):
    async with place.client("bob") as bob, place.client("alice") as alice:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("flood", stream=True)) as stream:
            run, _ = await began(stream)
            await asyncio.sleep(0.5)
            started = time.monotonic()
            assert (await alice.delete(RUN.format(run))).status_code == 200
            assert time.monotonic() - started < 12
        row = await ended(alice, run)
        assert row["outcome"] == "stopped"


# --- Looking at a run that has ended ------------------------------------------------------------------


def test_a_run_is_shown_to_its_owner_and_to_who_may_view_runs(api, bobs_api, pipe, bob, changed):
    from django.contrib.auth.models import Permission

    pipe("greeter", "print('hi there')\nreturn 'hi'")
    run = api.chat("greeter").headers["x-run-id"]
    shown = api.get(RUN.format(run))
    assert shown.status == 200
    assert shown.json["outcome"] == "succeeded"
    assert "hi there" in shown.json["steps"][0]["output"][0]["text"]
    assert set(shown.json["steps"][0]) == {
        "function", "version", "hook", "queue_ms", "wall_ms", "cpu_ms", "memory_mb", "output",
    }  # fmt: skip
    assert bobs_api.get(RUN.format(run)).status == 404
    bob.user_permissions.add(Permission.objects.get(codename="view_run"))
    changed()
    assert bobs_api.get(RUN.format(run)).status == 200
    assert bobs_api.request("DELETE", RUN.format(run)).status == 404


def test_what_a_function_printed_and_where_it_failed_is_not_for_every_caller(api, bobs_api, pipe):
    pipe("greeter", "print('the key is xyzzy')\nsecret = 456\nraise ValueError('no')")
    run = bobs_api.chat("greeter").headers["x-run-id"]
    shown, inside = bobs_api.get(RUN.format(run)).json, api.get(RUN.format(run)).json
    assert shown["steps"][0]["error"] == {"type": "ValueError", "message": "no", "line": 5}
    assert "xyzzy" not in str(shown)
    assert "raise ValueError" in inside["steps"][0]["error"]["traceback"]
    assert "xyzzy" in str(inside)


@pytest.mark.parametrize("run", ["nonsense", "a\0b", "80b1a639-5636-4d87-a86f-faff4fd19055"])
def test_an_unknown_run_is_404(api, run):
    for method in ("GET", "DELETE"):
        answer = api.request(method, RUN.format(run.replace("\0", "%00")))
        assert (answer.status, answer.error["code"]) == (404, "run_not_found")


def test_runs_need_a_key_but_no_scope(api, alice, pipe, fresh_snapshot):
    pipe("greeter", "return 'hi'")
    run = api.chat("greeter").headers["x-run-id"]
    assert API(None).get(RUN.format(run)).status == 401
    assert API(ApiKey.objects.issue(alice, "x", ["actions"])[1]).get(RUN.format(run)).status == 200


def test_a_run_that_failed_to_be_written_is_written_once_later(api, pipe, monkeypatch):
    from django.db import DatabaseError

    from pipeline_app.models import Usage

    pipe("greeter", "return 'hi'")
    api.chat("greeter")
    with monkeypatch.context() as patch:

        def refuse(rows):
            raise DatabaseError("the disk is full")

        patch.setattr(type(Usage.objects.all()), "put", lambda self, rows: refuse(rows))
        patch.setattr(type(Usage.objects), "put", lambda self, rows: refuse(rows))
        with pytest.raises(DatabaseError):
            log.write()
    assert Run.objects.count() == 0
    assert log.write() == 1
    assert Run.objects.count() == 1
    assert Usage.objects.get().calls == 1


async def test_a_run_that_cannot_be_written_at_all_does_not_end_the_writing(fresh_snapshot, alice, settings, caplog):
    settings.FUNCTIONS_RUN_SECONDS = 0.01
    step = {"function": "f", "version": 1, "hook": "pipe", "queue_ms": 0, "wall_ms": 1, "cpu_ms": 1, "memory_mb": 1}
    person = await sync_to_async(person_of)(alice)
    bad, good = (Record(person, "r", "chat", name) for name in ("bad", "good"))
    bad.steps, good.steps = [step | {"output": {"no", "JSON"}}], [step]
    log.add(bad, 1.0)
    log.add(good, 1.0)
    writing = asyncio.create_task(log.keep_writing())
    while log._waiting:
        await asyncio.sleep(0.01)
    writing.cancel()
    await asyncio.wait([writing])
    assert [run.model async for run in Run.objects.all()] == ["good"]
    assert f"Run {bad.id} can't be written" in caplog.text
