"""Functions that ask their client: over the stream, over another request, over another server process."""

from __future__ import annotations

import asyncio
import uuid

import openai
import pytest

from tests.pipeline_app.api.places import Place, Stream, chat, ended

SOURCES = {
    "asker": """
class Pipe:
    async def pipe(self, body, __event_call__=None, __event_emitter__=None):
        yield "Well. "
        kind = body["messages"][-1]["content"]
        kind = "confirmation" if kind == "go" else kind
        answer = await __event_call__({"type": kind, "data": {"title": "Sure?", "message": "Really?"}})
        yield f"{answer!r} {bool(answer)}"
        if answer:
            await __event_call__({"type": "input", "data": {"title": "Why?"}})
""",
    "blunt": """
import asyncio

class Pipe:
    def pipe(self, body, __event_call__=None):
        answer = asyncio.run(__event_call__({"type": "input", "data": {"title": "Name?"}}))
        return f"hello {answer}"
""",
    "cautious": """
class Filter:
    toggle = True

    async def inlet(self, body, __event_call__):
        if not await __event_call__({"type": "confirmation", "data": {"title": "Send it?"}}):
            raise PermissionError("the user says no")
        return body
""",
    "notes": """
from pathlib import Path

class Pipe:
    async def pipe(self, body, __event_call__):
        answer = await __event_call__({"type": "confirmation", "data": {}})
        print("I was told", answer, bool(answer))
        yield "done"
""",
    "button": """
class Action:
    actions = [{"id": "left", "name": "Left"}]

    async def action(self, body, __event_call__, __event_emitter__, __id__):
        await __event_emitter__({"type": "status", "data": {"description": "asking"}})
        return {"said": await __event_call__({"type": "execute", "data": {"code": "return 1"}}), "id": __id__}
""",
}

ANSWER = "/api/v1/runs/{}/events/{}"


@pytest.fixture(scope="module")
def place(one_server) -> Place:
    return Place([one_server], SOURCES)


def test_a_plain_client_that_knows_nothing_of_events_gets_an_answer(place):
    client = openai.OpenAI(api_key=place.keys["bob"], base_url=f"{place.servers[0].url}/v1", max_retries=0)
    expected = "Well. {'error': 'Client session disconnected.'} False"
    given = chat("asker")
    assert client.chat.completions.create(**given).choices[0].message.content == expected
    chunks = client.chat.completions.create(**given, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    with_flag = client.chat.completions.create(**given, extra_body={"interactive": True})
    assert with_flag.choices[0].message.content == expected  # a JSON answer can't ask


async def test_a_question_waits_for_its_answer(place):
    async with place.client("bob") as bob, place.client("carl") as carl, place.client("alice") as alice:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("asker", stream=True, interactive=True)) as r:
            stream = Stream(r)
            question = await stream.until(type="confirmation")
            assert stream.text == "Well. "
            name = question["id"]
            assert question == {
                "type": "confirmation", "id": name, "run": stream.run, "call": True,
                "data": {"title": "Sure?", "message": "Really?", "interaction_id": name},
            }  # fmt: skip
            path = ANSWER.format(stream.run, name)
            running = (await bob.get(f"/api/v1/runs/{stream.run}")).json()
            assert (running["outcome"], running["background"]) == ("running", False)
            refused = [
                (await carl.post(path, json={"value": True}), 404, "run_not_found"),
                (await bob.post(path, json={}), 400, "missing_required_parameter"),
                (await bob.post(ANSWER.format(stream.run, uuid.uuid4()), json={"value": 1}), 404, "question_not_found"),
                (await bob.post(ANSWER.format(stream.run, "x%00"), json={"value": 1}), 404, "question_not_found"),
                (await bob.post(ANSWER.format(uuid.uuid4(), name), json={"value": 1}), 404, "run_not_found"),
            ]
            assert [(a.status_code, a.json()["error"]["code"]) for a, *_ in refused] == [tuple(r[1:]) for r in refused]
            assert stream.numbers[0] is None  # ids are for runs that can be resumed
            taken = await alice.post(path, json={"data": True})
            assert taken.json() == {"id": name, "run": stream.run, "answered": True}
            await stream.until(type="input")
            again = await bob.post(path, json={"value": False})
            assert (again.status_code, again.json()["error"]["code"]) == (409, "already_answered")
            events = [data["event"] for _, data in stream.frames if "event" in data]
            assert events[1] == {"type": "request:interaction:done", "data": {"interaction_id": name}}
            await bob.post(ANSWER.format(stream.run, events[-1]["id"]), json={"value": ""})
            await stream.rest()
            assert stream.text == "Well. True True"
        row = await ended(bob, stream.run)
        assert (row["outcome"], row["background"]) == ("succeeded", False)
        late = await bob.post(path, json={"value": True})
        assert (late.status_code, late.json()["error"]["code"]) == (410, "question_closed")


def test_a_question_that_nobody_answers_gives_a_false_error(api, pipe, settings):
    settings.FUNCTIONS_ANSWER_SECONDS = 0.3
    pipe("asker", SOURCES["asker"])
    answer = api.chat("asker", stream=True, interactive=True)
    expected = {"error": "Event call timed out. The browser tab may be inactive or closed."}
    assert answer.streamed == f"Well. {expected!r} False"
    question, done = answer.events
    assert done == {"type": "request:interaction:done", "data": {"interaction_id": question["id"]}}
    late = api.post(ANSWER.format(question["run"], question["id"]), {"value": True})
    assert (late.status, late.error["code"]) == (410, "question_closed")


def test_the_time_of_a_question_does_not_count_against_the_functions_limit(api, pipe, settings):
    settings.FUNCTIONS_ANSWER_SECONDS = 1.5
    function = pipe("asker", SOURCES["asker"])
    function.change_policy({"time_limit": 1})
    assert api.chat("asker", stream=True, interactive=True).streamed.endswith("False")


async def test_filters_sync_functions_and_actions_ask_too(place):
    async with place.client("bob") as bob:

        async def asked(path: str, body: dict, value: object) -> Stream:
            async with bob.stream("POST", path, json={**body, "stream": True, "interactive": True}) as response:
                stream = Stream(response)
                question = await stream.until(call=True)
                answer = await bob.post(ANSWER.format(question["run"], question["id"]), json={"value": value})
                assert answer.status_code == 200, answer.text
                await stream.rest()
                return stream

        assert (await asked("/v1/chat/completions", chat("blunt"), "bob")).text == "hello bob"
        refused = await asked("/v1/chat/completions", chat("blunt", filter_ids=["cautious"]), False)
        assert refused.frames[-2][1]["error"]["message"].startswith("the user says no (PermissionError")
        triggered = await asked("/api/chat/actions/button.left", {}, {"x": [1, None]})
        frames = [data for _, data in triggered.frames]
        assert frames[0] == {"event": {"type": "status", "data": {"description": "asking"}}}
        question = frames[1]["event"]
        assert (question["type"], question["data"]) == ("execute", {"code": "return 1"})
        assert frames[3:] == [{"result": {"said": {"x": [1, None]}, "id": "left"}}, "[DONE]"]


async def test_a_client_that_leaves_releases_the_function_that_asks_it(place):
    async with place.client("bob") as bob, place.client("alice") as alice:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("notes", stream=True, interactive=True)) as r:
            stream = Stream(r)
            question = await stream.until(call=True)
        row = await ended(alice, stream.run)
        assert "I was told {'error': 'Client session disconnected.'} False" in row["steps"][0]["output"][0]["text"]
        late = await bob.post(ANSWER.format(stream.run, question["id"]), json={"value": True})
        assert late.status_code == 410


async def test_a_run_that_waits_for_an_answer_is_stopped(place):
    async with place.client("bob") as bob:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("asker", stream=True, interactive=True)) as r:
            stream = Stream(r)
            await stream.until(call=True)
            assert (await bob.delete(f"/api/v1/runs/{stream.run}")).status_code == 200
            await stream.rest()
        assert stream.frames[-2][1]["error"]["code"] == "run_stopped"


# --- Across server processes --------------------------------------------------------------------------------


async def across(place: Place) -> None:
    """A run on the first process: its question is answered, and another one is stopped, through the second."""
    async with place.client("bob") as bob, place.client("bob", 1) as other, place.client("carl", 1) as carl:
        async with bob.stream("POST", "/v1/chat/completions", json=chat("asker", stream=True, interactive=True)) as r:
            stream = Stream(r)
            question = await stream.until(call=True)
            path = ANSWER.format(stream.run, question["id"])
            assert (await other.get(f"/api/v1/runs/{stream.run}")).json()["outcome"] == "running"
            assert (await carl.post(path, json={"value": True})).status_code == 404
            unknown = await other.post(ANSWER.format(stream.run, uuid.uuid4()), json={"value": True})
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "question_not_found")
            answers = await asyncio.gather(*(other.post(path, json={"value": {"n": n}}) for n in range(2)))
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            second = await stream.until(type="input")
            await other.post(ANSWER.format(stream.run, second["id"]), json={"value": "so"})
            await stream.rest()
            n = [answer.status_code for answer in answers].index(200)
            assert stream.text == f"Well. {{'n': {n}}} True"
        late = await other.post(path, json={"value": True})
        assert late.status_code == 410
        name = f"mine-{uuid.uuid4().hex}"
        async with bob.stream(
            "POST", "/v1/chat/completions", json=chat("talker", stream=True), headers={"X-Request-ID": name}
        ) as r:
            stream = Stream(r)
            await anext(aiter(stream))
            assert (await carl.delete(f"/api/v1/runs/{stream.run}")).status_code == 404
            stopped = await other.delete(f"/api/v1/runs/{stream.run}")
            assert (stopped.status_code, stopped.json()) == (200, {"id": stream.run, "stopped": True})
            await stream.rest()
            assert stream.frames[-2][1]["error"]["message"] == f"Run {stream.run} was stopped by its owner."
        waiting = asyncio.create_task(
            bob.post("/v1/chat/completions", json=chat("talker"), headers={"X-Request-ID": name})
        )
        while (await bob.get(f"/api/v1/runs/{name}")).status_code == 404:
            await asyncio.sleep(0.02)
        assert (await other.delete(f"/api/v1/runs/{name}")).status_code == 200
        assert (await waiting).json()["error"]["code"] == "run_stopped"
        missing = await other.delete(f"/api/v1/runs/{uuid.uuid4()}")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "run_not_found")


TALKER = """
import asyncio

class Pipe:
    async def pipe(self, body):
        for number in range(2000):
            yield f"{number} "
            await asyncio.sleep(0.02)
"""


async def test_answers_and_stops_reach_a_run_in_another_server_process(start_server):
    first = start_server()
    second = start_server(data_dir=first.data_dir)
    await across(Place([first, second], {**SOURCES, "talker": TALKER}))


async def test_and_so_they_do_with_postgresql(start_server, postgres_url):
    first = start_server(DATABASE_URL=postgres_url)
    second = start_server(data_dir=first.data_dir, DATABASE_URL=postgres_url)
    await across(Place([first, second], {**SOURCES, "talker": TALKER}))
