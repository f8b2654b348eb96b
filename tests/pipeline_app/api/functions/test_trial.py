"""Trying one hook of a function over HTTP."""

from __future__ import annotations

import pytest

from pipeline_app import packing
from pipeline_app.models import Run
from pipeline_app.runners import environments
from pipeline_app.runs import log
from tests.builders import make_function, make_version
from tests.wheels import make_wheel

HOOK = "/api/v1/functions/id/{}/run"


def test_a_try_of_a_pipe_tells_all_about_the_call(api, pipe):
    pipe("greeter", "print('working')\nreturn 'Hello ' + body['messages'][0]['content']")
    answer = api.post(
        HOOK.format("greeter"), {"hook": "pipe", "body": {"messages": [{"role": "user", "content": "you"}]}}
    )
    assert answer.status == 200
    told = answer.json
    assert set(told) == {"result", "events", "calls", "logs", "error", "timing", "run"}
    assert told["result"] == {"role": "assistant", "content": "Hello you"}
    assert (told["events"], told["calls"], told["error"]) == ([], [], None)
    assert "working" in told["logs"][0]["text"]
    assert set(told["timing"]) == {"queue_ms", "wall_ms", "cpu_ms", "memory_mb"}
    assert told["timing"]["wall_ms"] > 0
    assert told["run"] == answer.headers["x-run-id"]
    log.write()
    run = Run.objects.get(pk=told["run"])
    assert (run.kind, run.model, run.outcome) == ("trial", "greeter", "succeeded")
    assert [step["hook"] for step in run.steps] == ["pipe"]


def test_a_failing_hook_is_an_answer_with_the_authors_line(api, pipe):
    pipe("broken", "print('so far')\nvalue = 1 / 0")
    answer = api.post(HOOK.format("broken"), {"hook": "pipe"})
    assert answer.status == 200
    error = answer.json["error"]
    assert (error["type"], error["message"], error["line"]) == ("ZeroDivisionError", "division by zero", 4)
    assert "value = 1 / 0" in error["traceback"]
    assert error["code"] == "function_failed"
    assert "so far" in answer.json["logs"][0]["text"]
    assert answer.json["result"] is None
    log.write()
    run = Run.objects.get(pk=answer.json["run"])
    assert run.outcome == "failed"
    assert run.steps[0]["error"]["line"] == 4
    assert "so far" in run.steps[0]["output"][0]["text"]


def test_a_limit_is_an_answer_that_names_it(api, pipe):
    pipe("sleeper", "import time\nprint('zzz')\ntime.sleep(5)", policy={"time_limit": 0.2})
    error = api.post(HOOK.format("sleeper"), {"hook": "pipe"}).json["error"]
    assert (error["type"], error["code"]) == ("SandboxLimit", "time_limit")
    assert "0.2 s" in error["message"]
    assert error["message"].startswith("Function 'sleeper' was stopped in pipe")


FILTER = """
from pydantic import BaseModel

class Filter:
    class Valves(BaseModel):
        word: str = "none"
        priority: int = 0

    class UserValves(BaseModel):
        mood: str = "calm"

    def __init__(self):
        self.valves = self.Valves()

    async def inlet(self, body, __user__, __metadata__, __model__, __files__, __event_emitter__, __event_call__):
        await __event_emitter__({"type": "status", "data": {"description": "looking"}})
        body["seen"] = {
            "word": self.valves.word,
            "mood": __user__["valves"].mood,
            "user": __user__["name"],
            "task": __metadata__.get("purpose"),
            "model": __model__["id"],
            "files": [file["id"] for file in __files__],
            "sure": await __event_call__({"type": "confirmation", "data": {"title": "Sure?"}}),
            "name": await __event_call__({"type": "input", "data": {"title": "Name?"}}),
        }
        return body

    def stream(self, event):
        if event["choices"][0]["delta"]["content"] == "drop":
            return None
        event["choices"][0]["delta"]["content"] += "!"
        return event

    def outlet(self, body):
        body["messages"].append({"role": "assistant", "content": "bye"})
        return body
"""


def test_everything_that_a_call_is_given_reaches_the_hook_for_this_call_only(api, base_packages, changed):
    make_function("mask", FILTER, valves={"word": "stored", "priority": 3}, is_active=False)
    answer = api.post(
        HOOK.format("mask"),
        {
            "hook": "inlet",
            "body": {"messages": []},
            "metadata": {"purpose": "testing"},
            "model": {"id": "gpt"},
            "files": [{"id": "f1", "type": "collection"}],
            "valves": {"word": "given"},
            "user_valves": {"mood": "merry"},
            "answers": [True],
        },
    )
    assert answer.status == 200
    told = answer.json
    assert told["error"] is None
    assert told["result"]["seen"] == {
        "word": "given",
        "mood": "merry",
        "user": "alice",
        "task": "testing",
        "model": "gpt",
        "files": ["f1"],
        "sure": True,
        "name": False,  # nobody answered any more
    }
    assert told["events"] == [{"type": "status", "data": {"description": "looking"}}]
    assert told["calls"] == [
        {"type": "confirmation", "data": {"title": "Sure?"}, "answer": True},
        {"type": "input", "data": {"title": "Name?"}, "answer": False},
    ]
    seen = api.post(HOOK.format("mask"), {"hook": "inlet"}).json["result"]["seen"]
    assert (seen["word"], seen["mood"]) == ("stored", "calm")
    assert api.post(HOOK.format("mask"), {"hook": "inlet", "valves": {"word": None}}).json["result"]["seen"][
        "word"
    ] == ("none")


SECRETIVE = """
from pydantic import BaseModel

class Pipe:
    class Valves(BaseModel):
        key: str = "none"
        url: str = "here"

    def __init__(self):
        self.valves = self.Valves()

    def pipe(self, body):
        return f"{self.valves.key} to {self.valves.url}"
"""


@pytest.mark.parametrize(
    ("permissions", "version", "valves", "said"),
    [
        # Published code with the stored valves does what it does for everybody.
        (("change_function",), None, None, "secret to here"),
        # A key must not go to an address of the author's choice, nor to code that nobody has let serve.
        (("change_function",), None, {"url": "evil"}, "none to evil"),
        (("change_function",), 2, None, "none to here!"),
        (("change_function", "change_valves"), None, {"url": "there"}, "secret to there"),
        (("change_function", "change_valves"), 2, None, "none to here!"),
        (("change_function", "publish_function"), 2, {"url": "there"}, "secret to there!"),
    ],
)
def test_stored_valves_are_for_published_code_and_for_who_could_see_them_anyway(
    author, base_packages, changed, permissions, version, valves, said
):
    function = make_function("teller", SECRETIVE, valves={"key": "secret"})
    make_version(function, SECRETIVE.replace('url}"', 'url}!"'), publish=False)
    changed()
    body = {"hook": "pipe", "valves": valves, "version": version}
    told = author(*permissions).post(HOOK.format("teller"), body).json
    assert told["error"] is None
    assert told["result"]["content"] == said


def chunk(text: str) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def test_a_stream_hook_takes_one_chunk_or_several(api, base_packages, changed):
    make_function("mask", FILTER)
    one = api.post(HOOK.format("mask"), {"hook": "stream", "body": chunk("a")}).json
    assert one["result"] == chunk("a!")
    assert api.post(HOOK.format("mask"), {"hook": "stream", "body": chunk("drop")}).json["result"] is None
    several = api.post(HOOK.format("mask"), {"hook": "stream", "body": [chunk("a"), chunk("drop"), chunk("b")]}).json
    assert several["result"] == [chunk("a!"), None, chunk("b!")]
    wrong = api.post(HOOK.format("mask"), {"hook": "stream", "body": ["a"]})
    assert (wrong.status, wrong.error["param"]) == (400, "body")


@pytest.mark.parametrize(
    ("source", "hook", "body", "result"),
    [
        (FILTER, "outlet", {"messages": [{"role": "user", "content": "x"}]}, "bye"),
        ("class Pipe:\n    def pipes(self):\n        return [{'id': 'a', 'name': 'A'}]\n    def pipe(self, body):\n        return ''", "pipes", None, [{"id": "a", "name": "A"}]),
        ("class Action:\n    def action(self, body):\n        return {'got': body['messages']}", "action", None, {"got": []}),
        ("class Action:\n    def run(self, body):\n        return 'older'", "action", None, "older"),
        ("class Event:\n    def event(self, event):\n        return event['type']", "event", {"type": "x"}, "x"),
    ],
)  # fmt: skip
def test_every_hook_can_be_tried(api, base_packages, changed, source, hook, body, result):
    make_function("tried", source)
    told = api.post(HOOK.format("tried"), {"hook": hook, **({"body": body} if body else {})}).json
    assert told["error"] is None
    found = told["result"]["messages"][-1]["content"] if hook == "outlet" else told["result"]
    assert found == result


def test_a_version_that_does_not_serve_can_be_tried(api, pipe, changed):
    function = pipe("greeter", "return 'one'")
    make_version(function, "class Pipe:\n    def pipe(self, body):\n        return 'two'\n", publish=False)
    changed()
    assert api.post(HOOK.format("greeter"), {"hook": "pipe"}).json["result"]["content"] == "one"
    assert api.post(HOOK.format("greeter"), {"hook": "pipe", "version": 2}).json["result"]["content"] == "two"
    missing = api.post(HOOK.format("greeter"), {"hook": "pipe", "version": 3})
    assert (missing.status, missing.error["code"]) == (404, "version_not_found")
    assert missing.error["message"] == "Function 'greeter' has no version 3."


def test_a_draft_that_does_not_load_is_an_answer_with_the_reason(api, base_packages, changed):
    make_function("draft", "class Pipe:\n    def pipe(self, body)\n        return 1\n", publish=False)
    answer = api.post(HOOK.format("draft"), {"hook": "pipe"})
    assert answer.status == 200
    assert answer.json["error"]["type"] == "SyntaxError"
    assert answer.json["error"]["line"] == 2


def test_a_hook_that_is_not_there_is_said_so(api, pipe):
    pipe("greeter", "return 'hi'")
    answer = api.post(HOOK.format("greeter"), {"hook": "inlet"})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "hook_not_found", "hook")
    assert answer.error["message"] == "Function 'greeter' has no hook 'inlet'; it has pipe."


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "hook"),
        ({"hook": "lunch"}, "hook"),
        ({"hook": "pipe", "user_valve": {}}, "user_valve"),
        ({"hook": "pipe", "valves": []}, "valves"),
        ({"hook": "pipe", "answers": {}}, "answers"),
        ({"hook": "pipe", "version": "1"}, "version"),
        ({"hook": "pipe", "version": True}, "version"),
        ({"hook": "pipe", "stream": 1}, "stream"),
        ({"hook": "pipe", "body": "text"}, "body"),
    ],
)
def test_a_wrong_request_names_the_field(api, pipe, body, param):
    pipe("greeter", "return 'hi'")
    answer = api.post(HOOK.format("greeter"), body)
    assert (answer.status, answer.error["param"]) == (400, param)


def test_a_streamed_try_tells_as_it_goes_and_ends_with_the_whole_answer(api, pipe):
    pipe(
        "counter",
        "await __event_emitter__({'type': 'status', 'data': {}})\nfor n in range(3):\n    yield f'{n}'",
        signature="self, body, __event_emitter__",
        is_async=True,
    )
    answer = api.post(HOOK.format("counter"), {"hook": "pipe", "stream": True})
    assert answer.status == 200
    frames = answer.frames
    assert frames[-1] == "[DONE]"
    assert "".join(frame["item"] for frame in frames[:-1] if "item" in frame) == "012"
    assert [frame["event"] for frame in frames[:-1] if "event" in frame] == [{"type": "status", "data": {}}]
    whole = frames[-2]["answer"]
    assert whole["result"]["content"] == "012"
    assert whole["run"] == answer.headers["x-run-id"]


def test_a_streamed_try_that_fails_ends_with_the_error_in_the_answer(api, pipe):
    pipe("broken", "yield 'a'\nraise ValueError('no more')")
    frames = api.post(HOOK.format("broken"), {"hook": "pipe", "stream": True}).frames
    assert frames[0] == {"item": "a"}
    assert frames[-2]["answer"]["error"]["message"] == "no more"


def test_a_streamed_try_that_fails_in_the_server_says_so_at_its_end(api, pipe, monkeypatch, caplog):
    def fail(*_):
        raise OSError("no disk")

    pipe("fine", "return 'x'")
    monkeypatch.setattr("pipeline_app.trial.Record.begin", fail)
    frames = api.post(HOOK.format("fine"), {"hook": "pipe", "stream": True}).frames
    message = "The server failed to go on; its log has the reason."
    assert frames == [
        {"error": {"message": message, "type": "server_error", "param": None, "code": None}},
        "[DONE]",
    ]
    assert "no disk" in caplog.text


def test_a_try_is_made_as_the_caller_and_as_nobody_else(api, alice, bob, pipe):
    pipe("who", "return __metadata__['user_id'] + ' ' + __user__['id']", signature="self, body, __metadata__, __user__")
    asked = {"hook": "pipe", "metadata": {"user_id": str(bob.pk), "user": {"id": str(bob.pk)}}}
    assert api.post(HOOK.format("who"), asked).json["result"]["content"] == f"{alice.pk} {alice.pk}"


def test_a_draft_is_tried_with_the_packages_that_are_installed_for_it(api, wheels):
    make_wheel(wheels, "triallens", "1.0")
    packing.install(environments.resolve(["triallens"]))
    source = '"""\nrequirements: triallens\n"""\nimport triallens\n\n\nclass Pipe:\n    def pipe(self, body):\n'
    make_function("lens", f"{source}        return triallens.VERSION\n", publish=False)
    told = api.post(HOOK.format("lens"), {"hook": "pipe"}).json
    assert told["error"] is None
    assert told["result"] == {"role": "assistant", "content": "1.0"}
