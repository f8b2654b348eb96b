"""Runs that outlive their clients: kept, followed from any number on and from any process, and ended with a reason."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections import Counter

import openai
import pytest
from django.utils import timezone

from pipeline_app.api import runs
from pipeline_app.models import Run, RunEvent
from tests.pipeline_app.api.places import Place, Stream, chat, ended, text_of

SOURCES = {
    "counter": """
import asyncio

class Pipe:
    async def pipe(self, body, __event_emitter__, __event_call__):
        print("counting", body["stream"])
        await __event_emitter__({"type": "status", "data": {"description": "began"}})
        for number in range(60):
            yield f"{number} "
            await asyncio.sleep(0.02)
        yield "x\\0y\\ud800 end"
""",
    "endless": """
import asyncio

class Pipe:
    async def pipe(self, body):
        for number in range(3000):
            yield f"{number} "
            await asyncio.sleep(0.02)
""",
    "curious": """
class Pipe:
    async def pipe(self, body, __event_call__):
        yield f"said {await __event_call__({'type': 'input', 'data': {'title': 'Name?'}})}"
""",
    "failing": """
class Pipe:
    async def pipe(self, body):
        yield "so far "
        raise ValueError("no further")
""",
    "flood": """
class Pipe:
    def pipe(self, body):
        while True:
            yield "x" * 10000
""",
    "deed": """
class Action:
    async def action(self, body, __event_emitter__):
        await __event_emitter__({"type": "status", "data": {"description": "doing"}})
        return {"done": sorted(body)}
""",
}
EXPECTED = "".join(f"{number} " for number in range(60))
RUN = "/api/v1/runs/{}"
FOLLOW = "/api/v1/runs/{}/events"


@pytest.fixture(scope="module")
def place(one_server) -> Place:
    return Place([one_server], SOURCES)


async def test_a_background_chat_is_begun_and_its_answer_found_later(place):
    async with place.client("bob") as bob, place.client("carl") as carl, place.client("alice") as alice:
        begun = await bob.post("/v1/chat/completions", json=chat("counter", background=True))
        run = begun.json()["id"]
        assert begun.status_code == 202
        assert begun.json() == {"id": run, "object": "run", "status": "running", "events": FOLLOW.format(run)}
        assert (begun.headers["x-run-id"], begun.headers["location"]) == (run, RUN.format(run))
        going = (await bob.get(RUN.format(run))).json()
        assert (going["outcome"], going["background"]) == ("running", True)
        row = await ended(bob, run)
        assert row["outcome"] == "succeeded"
        message = row["answer"]["choices"][0]["message"]
        assert message["content"].startswith(EXPECTED)
        assert row["answer"]["events"] == [{"type": "status", "data": {"description": "began"}}]
        assert (await carl.get(RUN.format(run))).status_code == 404
        assert (await carl.get(FOLLOW.format(run))).status_code == 404
        assert "counting True" in (await alice.get(RUN.format(run))).json()["steps"][0]["output"][0]["text"]
        replayed = await bob.get(FOLLOW.format(run))
        assert replayed.headers["content-type"].startswith("text/event-stream")
        assert replayed.text.endswith("data: [DONE]\n\n")


async def test_a_background_stream_goes_on_when_its_client_leaves_and_is_taken_up_again_exactly(place):
    async with place.client("bob") as bob:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("counter", background=True, stream=True)) as r:
            stream = Stream(r)
            async for _ in stream:
                if len(stream.frames) >= 10:
                    break
            run = stream.run
        seen = stream.frames
        headers = {"Last-Event-ID": str(seen[-1][0])}
        async with bob.stream("GET", FOLLOW.format(run), headers=headers) as r:
            rest = Stream(r)
            await rest.rest()
        numbers = [number for number, _ in seen + rest.frames]
        assert numbers == list(range(1, len(numbers) + 1))
        assert rest.frames[-1][1] == "[DONE]"
        assert text_of(data for _, data in seen + rest.frames).startswith(EXPECTED)
        row = await ended(bob, run)
        assert row["outcome"] == "succeeded"
        # What is replayed later, from the database, is what was sent.
        async with bob.stream("GET", FOLLOW.format(run)) as r:
            again = Stream(r)
            await again.rest()
        assert again.frames == seen + rest.frames
        async with bob.stream("GET", f"{FOLLOW.format(run)}?after={numbers[-1]}") as r:
            over = Stream(r)
            assert await over.rest() == ["[DONE]"]


def test_the_official_client_reads_a_background_stream(place):
    client = openai.OpenAI(api_key=place.keys["bob"], base_url=f"{place.servers[0].url}/v1", max_retries=0)
    chunks = client.chat.completions.create(**chat("counter"), stream=True, extra_body={"background": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).startswith(EXPECTED)


async def test_a_background_action_keeps_its_result(place):
    async with place.client("bob") as bob:
        begun = await bob.post("/api/chat/actions/deed", json={"background": True, "extra": 1})
        assert begun.status_code == 202
        row = await ended(bob, begun.json()["id"])
        assert row["answer"] == {
            "result": {"done": ["chat_id", "extra", "id", "messages", "session_id"]},
            "events": [{"type": "status", "data": {"description": "doing"}}],
        }
        async with bob.stream("GET", begun.json()["events"]) as r:
            frames = await Stream(r).rest()
        assert [next(iter(frame)) for frame in frames[:-1]] == ["event", "result"]


async def test_a_background_run_asks_whoever_follows_it(place):
    async with place.client("bob") as bob:
        begun = await bob.post("/v1/chat/completions", json=chat("curious", background=True, interactive=True))
        run = begun.json()["id"]
        async with bob.stream("GET", FOLLOW.format(run)) as r:
            question = await Stream(r).until(call=True)
        async with bob.stream("GET", FOLLOW.format(run)) as r:  # who left may come back and answer
            stream = Stream(r)
            assert await stream.until(call=True) == question
            path = f"/api/v1/runs/{run}/events/{question['id']}"
            assert (await bob.post(path, json={"value": "bob"})).status_code == 200
            await stream.rest()
        assert stream.text == "said bob"


async def test_a_failure_is_kept_too(place):
    async with place.client("bob") as bob:
        begun = (await bob.post("/v1/chat/completions", json=chat("failing", background=True))).json()
        row = await ended(bob, begun["id"])
        assert (row["outcome"], row["answer"]) == ("failed", None)
        async with bob.stream("GET", begun["events"]) as r:
            frames = await Stream(r).rest()
        assert text_of(frames) == "so far "
        assert frames[-2]["error"]["message"] == row["error"]
        assert row["error"].startswith("no further (ValueError in function 'failing'")
        unknown = await bob.post("/v1/chat/completions", json=chat("nothing", background=True))
        assert unknown.status_code == 404


async def test_one_that_says_too_much_or_is_stopped_ends_with_a_reason(place):
    async with place.client("bob") as bob:
        begun = (await bob.post("/v1/chat/completions", json=chat("flood", background=True))).json()
        row = await ended(bob, begun["id"])
        assert row["outcome"] == "stopped"
        assert "says more than the 16 MB that are kept of a background run" in row["error"]
        begun = (await bob.post("/v1/chat/completions", json=chat("endless", background=True))).json()
        assert (await bob.delete(RUN.format(begun["id"]))).status_code == 200
        async with bob.stream("GET", begun["events"]) as r:
            frames = await Stream(r).rest()
        assert frames[-2]["error"]["code"] == "run_stopped"


async def test_a_person_has_so_many_at_once_and_no_more(place):
    async with place.client("carl") as carl:
        runs = []
        for _ in range(8):
            runs.append((await carl.post("/v1/chat/completions", json=chat("endless", background=True))).json()["id"])
        refused = await carl.post("/v1/chat/completions", json=chat("endless", background=True))
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_runs")
        assert refused.headers["retry-after"]
        for run in runs:
            await carl.delete(RUN.format(run))


@pytest.mark.parametrize(("query", "status"), [("?after=x", 400), ("?after=-1", 400), ("?after=99999999999", 400)])
async def test_a_wrong_number_is_named(place, query, status):
    async with place.client("bob") as bob:
        answer = await bob.get(f"{FOLLOW.format(uuid.uuid4())}{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, "after")


async def test_only_background_runs_can_be_followed(place):
    async with place.client("bob") as bob:
        plain = await bob.post("/v1/chat/completions", json=chat("counter"))
        run = plain.headers["x-run-id"]
        await ended(bob, run)
        answer = await bob.get(FOLLOW.format(run))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "events_not_kept")
        wrong = await bob.post("/v1/chat/completions", json=chat("counter", background="yes"))
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "background")


def test_nobody_takes_all_places_of_those_who_follow_from_elsewhere(api, bobs_api, bob, monkeypatch):
    run = Run.objects.create(
        user=bob, request_id="r", outcome="succeeded", started_at=timezone.now(), wall_ms=0, background=True
    )
    RunEvent.objects.create(run_id=run.pk, number=1, data="[DONE]")
    monkeypatch.setattr(runs, "_followers", Counter({str(bob.pk): runs.FOLLOWERS_EACH}))
    refused = bobs_api.get(FOLLOW.format(run.pk))
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, "rate_limit_exceeded", "5")
    assert api.get(FOLLOW.format(run.pk)).text == "id: 1\ndata: [DONE]\n\n"
    assert runs._followers == {str(bob.pk): runs.FOLLOWERS_EACH}


# --- Across server processes, and when they end ---------------------------------------------------------------


async def followed_elsewhere(place: Place) -> None:
    """A run of the first process, followed through the second from its middle on."""
    async with place.client("bob") as bob, place.client("bob", 1) as other:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("counter", background=True, stream=True)) as r:
            stream = Stream(r)
            async for _ in stream:
                if len(stream.frames) >= 5:
                    break
        async with other.stream("GET", FOLLOW.format(stream.run), headers={"Last-Event-ID": "5"}) as r:
            rest = Stream(r)
            await rest.rest()
        numbers = stream.numbers + rest.numbers
        assert numbers == list(range(1, len(numbers) + 1))
        assert text_of(data for _, data in stream.frames + rest.frames).startswith(EXPECTED)
        row = await ended(other, stream.run)
        assert (row["outcome"], row["answer"]["choices"][0]["finish_reason"]) == ("succeeded", "stop")


async def capped(place: Place) -> None:
    """Many requests at once, through both processes, begin as many runs as may be."""
    async with place.client("carl") as carl, place.client("carl", 1) as other:
        body = chat("endless", background=True)
        begun = await asyncio.gather(*(c.post("/v1/chat/completions", json=body) for c in [carl, other] * 8))
        runs = [answer.json()["id"] for answer in begun if answer.status_code == 202]
        assert (len(runs), {answer.status_code for answer in begun}) == (8, {202, 429})
        for run in runs:
            await carl.delete(RUN.format(run))


async def lost(place: Place) -> None:
    """A run of the first process, which is killed: the second says so."""
    async with place.client("bob") as bob, place.client("bob", 1) as other:
        begun = (await bob.post("/v1/chat/completions", json=chat("endless", background=True))).json()
        async with other.stream("GET", begun["events"]) as r:
            stream = Stream(r)
            async for _ in stream:
                if len(stream.frames) == 3:
                    break
            os.kill(place.servers[0].pid, signal.SIGKILL)
            await asyncio.to_thread(
                place.servers[1].shell,
                "from datetime import timedelta\nfrom pipeline_app.models import *\n"
                f"run = Run.objects.get(pk='{begun['id']}', outcome='running')\n"
                "from django.utils import timezone\n"
                "Presence.objects.filter(pk=run.process).update(seen_at=timezone.now() - timedelta(minutes=1))",
            )
            await stream.rest()
        assert stream.frames[-2][1]["error"]["message"] == "Its server process ended while it went on."
        row = (await other.get(RUN.format(begun["id"]))).json()
        assert (row["outcome"], row["error"]) == ("failed", "Its server process ended while it went on.")
        assert (await other.delete(RUN.format(begun["id"]))).status_code == 404


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_runs_are_followed_through_another_process_and_lost_with_their_own(start_server, request, database):
    given = {"DATABASE_URL": request.getfixturevalue("postgres_url")} if database == "postgresql" else {}
    first = start_server(**given)
    second = start_server(data_dir=first.data_dir, **given)
    place = Place([first, second], SOURCES)
    await followed_elsewhere(place)
    await capped(place)
    await lost(place)


async def test_a_server_that_is_stopped_ends_its_background_runs_and_says_why(start_server):
    server = start_server()
    place = Place([server], SOURCES)
    async with place.client("bob") as bob:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("endless", background=True, stream=True)) as r:
            stream = Stream(r)
            await anext(aiter(stream))
            run = stream.run
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            await stream.rest()  # who follows it does not hold the server up
            assert stream.frames[-2][1]["error"]["code"] == "run_stopped"
            assert stream.frames[-1][1] == "[DONE]"
        assert await stopping is not None
    server.start()
    async with place.client("bob") as bob:
        row = await ended(bob, run)
        assert (row["outcome"], row["error"]) == (
            "stopped",
            f"Run {run} was stopped by the server, which was shut down.",
        )
        async with bob.stream("GET", FOLLOW.format(run)) as r:
            frames = await Stream(r).rest()
        assert frames[-2]["error"]["message"] == row["error"]
        assert frames[-1] == "[DONE]"
