"""The story of a chat: which hooks run, in which order, with which body, and what becomes of what they give."""

from __future__ import annotations

import json
import time

import pytest

from tests.builders import make_function, make_model

ECHO = """
class Pipe:
    def pipe(self, body):
        return body["messages"][-1]["content"]
"""

TRACER = """
from pydantic import BaseModel

class Filter:
    class Valves(BaseModel):
        priority: int = 0
        mark: str = "?"

    def __init__(self):
        self.valves = self.Valves()

    def inlet(self, body):
        body["messages"][-1]["content"] += f" in-{self.valves.mark}"
        return body

    async def request(self, body):
        body["messages"][-1]["content"] += f" req-{self.valves.mark}"
        return body

    def stream(self, event):
        delta = event["choices"][0]["delta"]
        if delta.get("content"):
            delta["content"] += f" str-{self.valves.mark}"
        return event

    async def outlet(self, body):
        body["messages"][-1]["content"] += f" out-{self.valves.mark}"
        return body
"""


@pytest.fixture
def filters(changed):
    def store(name, source=TRACER, **more):
        more.setdefault("is_global", True)
        function = make_function(name, source, **more)
        assert function.live is not None, function.newest.error
        changed()
        return function

    return store


def test_filters_run_around_the_pipe_in_order_of_priority_then_id(api, pipe, filters):
    pipe("echo", ECHO)
    filters("b_late", valves={"priority": 5, "mark": "3"})
    filters("z_first", valves={"priority": -1, "mark": "1"})
    filters("a_late", valves={"priority": 5, "mark": "2"})
    answer = api.chat("echo", "hi")
    assert answer.content == "hi in-1 in-2 in-3 req-1 req-2 req-3 out-1 out-2 out-3"


def test_stream_filters_see_each_chunk_and_outlets_tell_of_a_changed_answer(api, pipe, filters):
    pipe("echo", ECHO)
    filters("tracer", valves={"mark": "1"})
    answer = api.chat("echo", "hi", stream=True)
    assert answer.streamed == "hi in-1 req-1 str-1"
    (event,) = answer.events
    assert event["type"] == "chat:outlet"
    assert event["data"]["messages"][0]["content"] == "hi in-1 req-1 str-1 out-1"
    assert answer.frames[-1] == "[DONE]"


def test_a_held_stream_shows_only_what_the_outlet_left(api, pipe, filters):
    pipe(
        "leaky",
        """
class Pipe:
    async def pipe(self, body, __event_emitter__=None):
        await __event_emitter__({"type": "status", "data": {"description": "thinking"}})
        await __event_emitter__({"type": "message", "data": {"content": "the secret is 42"}})
        yield "the secret is 42"
""",
    )
    filters(
        "guard",
        """
class Filter:
    def outlet(self, body):
        last = body["messages"][-1]
        if "secret" in last["content"]:
            last["content"] = "I can't say that."
        return body
""",
        policy={"stream_mode": "hold"},
    )
    answer = api.chat("leaky", stream=True)
    assert answer.streamed == "I can't say that."
    assert "secret" not in answer.text
    assert [event["type"] for event in answer.events] == ["status"]
    body = api.chat("leaky").json
    assert body["choices"][0]["message"]["content"] == "I can't say that."
    assert "secret" not in json.dumps(body)


def test_a_held_stream_that_the_outlet_leaves_alone_arrives_as_it_was(api, pipe, filters):
    pipe("counter", "for n in range(3):\n    yield str(n)")
    filters(
        "guard", "class Filter:\n    def outlet(self, body):\n        return body\n", policy={"stream_mode": "hold"}
    )
    answer = api.chat("counter", stream=True)
    assert [c["choices"][0]["delta"].get("content") for c in answer.chunks] == ["0", "1", "2", None]
    assert answer.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert not answer.events


def test_what_comes_back_as_nothing_is_the_body_as_it_was_changed(api, pipe, filters):
    pipe("echo", ECHO)
    filters(
        "mutator",
        """
class Filter:
    def inlet(self, body):
        body["messages"][-1]["content"] = "changed"
    def outlet(self, body):
        body["messages"][-1]["content"] += "!"
""",
    )
    assert api.chat("echo").content == "changed!"


def test_a_dropped_chunk_reaches_neither_the_client_nor_later_filters(api, pipe, filters):
    pipe("counter", "for n in range(4):\n    yield str(n)")
    filters(
        "a_odd",
        """
class Filter:
    def stream(self, event):
        return None if event["choices"][0]["delta"].get("content") in ("1", "3") else event
""",
    )
    filters(
        "b_seen",
        """
class Filter:
    def stream(self, event):
        assert event is not None
        return event
""",
    )
    assert api.chat("counter", stream=True).streamed == "02"


FAILING = "class Filter:\n    def inlet(self, body):\n        raise RuntimeError('out of order')\n"


def test_a_failing_filter_blocks_the_request(api, pipe, filters):
    pipe("echo", ECHO)
    filters("grumpy", FAILING)
    answer = api.chat("echo")
    assert answer.status == 500
    assert answer.error["message"] == "out of order (RuntimeError in function 'grumpy', inlet, line 3)"


def test_a_failing_filter_is_skipped_when_its_policy_says_so_and_the_client_is_told(api, pipe, filters):
    pipe("echo", ECHO)
    filters("grumpy", FAILING, policy={"on_error": "skip"})
    answer = api.chat("echo", "hi")
    assert answer.content == "hi"
    (event,) = answer.json["events"]
    assert event["type"] == "filter:skipped"
    assert event["data"]["filter"] == "grumpy"
    assert event["data"]["hook"] == "inlet"


def test_a_filter_that_does_not_load_blocks_too(api, pipe, filters):
    pipe("echo", ECHO)
    ends = time.time() + 2
    filters(
        "moody",
        f"import time\nif time.time() > {ends}: raise TimeoutError('too late')\n\n"
        "class Filter:\n    def inlet(self, body):\n        return body\n",
    )
    assert api.chat("echo").status == 200
    from functions_app.runtime import get_runtime

    get_runtime().forget()
    time.sleep(max(0.0, ends - time.time()))
    answer = api.chat("echo")
    assert answer.status == 503
    assert answer.error["code"] == "function_unavailable"
    assert answer.error["message"].startswith("Function 'moody' can't be run: TimeoutError: too late")


@pytest.mark.parametrize("value", ["'text'", "42", "{'no': 'messages'}", "[1]"])
def test_a_wrong_return_of_a_filter_is_named(api, pipe, filters, value):
    pipe("echo", ECHO)
    filters("confused", f"class Filter:\n    def inlet(self, body):\n        return {value}\n")
    answer = api.chat("echo")
    assert answer.status == 500
    assert "function 'confused', inlet" in answer.error["message"]


TOGGLED = """
class Filter:
    def __init__(self):
        self.toggle = True
    def inlet(self, body):
        body["messages"][-1]["content"] += " toggled"
        return body
"""


def test_a_toggle_filter_runs_only_when_it_is_switched_on(api, pipe, filters, changed):
    pipe("echo", ECHO)
    thinker = filters("thinker", TOGGLED)
    assert api.chat("echo", "hi").content == "hi"
    assert api.chat("echo", "hi", filter_ids=["thinker"]).content == "hi toggled"
    make_model("preset", base="echo", default_filters=[thinker])
    changed()
    assert api.chat("preset", "hi").content == "hi toggled"
    assert api.chat("preset", "hi", filter_ids=[]).content == "hi"


def test_naming_a_filter_never_adds_one_that_is_neither_global_nor_attached(api, pipe, filters, changed):
    pipe("echo", ECHO)
    stray = filters("stray", TRACER, is_global=False, valves={"mark": "s"})
    assert api.chat("echo", "hi", filter_ids=["stray"]).content == "hi"
    make_model("preset", base="echo", filters=[stray])
    changed()
    assert api.chat("preset", "hi").content == "hi in-s req-s out-s"
    assert api.chat("echo", "hi").content == "hi"


def test_an_inactive_filter_does_not_run(api, pipe, filters):
    pipe("echo", ECHO)
    filters("sleeper", is_active=False)
    assert api.chat("echo", "hi").content == "hi"


def test_a_file_handler_takes_the_files(api, pipe, filters):
    pipe("counter", "return str(len(__files__))", signature="self, body, __files__=None")
    files = [{"type": "collection", "id": "a"}]
    assert api.chat("counter", files=files).content == "1"
    filters(
        "handler",
        "class Filter:\n    def __init__(self):\n        self.file_handler = True\n"
        "    def inlet(self, body):\n        return body\n",
    )
    assert api.chat("counter", files=files).content == "0"


def test_an_inlet_may_send_the_request_to_another_model(api, pipe, filters):
    pipe("echo", ECHO)
    pipe("other", "return 'the other: ' + body['model']")
    filters(
        "router",
        "class Filter:\n    def inlet(self, body):\n        body['model'] = 'other'\n        return body\n",
    )
    assert api.chat("echo").content == "the other: other"


def test_what_a_hook_does_to_the_metadata_reaches_the_next_but_not_the_servers_own_keys(api, pipe, filters):
    pipe(
        "teller",
        "import json\nreturn json.dumps([__metadata__.get('mood'), __metadata__['user_id'] == __user__['id']])",
        signature="self, body, __metadata__, __user__",
    )
    filters(
        "painter",
        """
class Filter:
    def inlet(self, body, __metadata__):
        __metadata__["mood"] = "blue"
        __metadata__["user_id"] = "somebody else"
        return body
""",
    )
    assert json.loads(api.chat("teller").content) == ["blue", True]


def test_a_filter_keeps_what_its_inlet_left_on_self_for_its_outlet(api, pipe, filters):
    pipe("echo", ECHO)
    filters(
        "keeper",
        """
class Filter:
    def inlet(self, body):
        self.seen = body["messages"][-1]["content"]
        return body
    def outlet(self, body):
        body["messages"][-1]["content"] = "seen: " + self.seen
        return body
""",
    )
    assert api.chat("echo", "hi").content == "seen: hi"


def test_a_preset_gives_its_base_parameters_and_a_system_prompt(api, pipe, changed):
    pipe("mirror", "import json\nreturn json.dumps(body)")
    make_model(
        "pirate",
        base="mirror",
        system_prompt="Talk like a pirate to {{USER_NAME}}.",
        params={"temperature": 0.2, "seed": 7},
    )
    changed()
    answer = api.chat("pirate", "hi", temperature=0.9)
    assert answer.json["model"] == "pirate"
    seen = json.loads(answer.content)
    assert seen["model"] == "mirror"
    assert (seen["temperature"], seen["seed"]) == (0.9, 7)
    assert seen["messages"][0] == {"role": "system", "content": "Talk like a pirate to alice."}


def test_a_preset_for_a_group_is_for_its_members(api, bobs_api, bob, pipe, changed):
    from django.contrib.auth.models import Group

    pipe("echo", ECHO)
    crew = Group.objects.create(name="crew")
    make_model("echo", groups=[crew])
    changed()
    assert api.chat("echo").status == 200
    assert bobs_api.chat("echo").status == 404
    assert [m["id"] for m in bobs_api.get("/v1/models").json["data"]] == []
    bob.groups.add(crew)
    changed()
    assert bobs_api.chat("echo").status == 200


def test_user_valves_and_valves_are_those_of_the_call(api, bobs_api, alice, bob, changed, pipe):
    from functions_app.models import UserValves

    function = pipe(
        "valved",
        """
from pydantic import BaseModel

class Pipe:
    class Valves(BaseModel):
        word: str = "default"
    class UserValves(BaseModel):
        tone: str = "plain"
    def __init__(self):
        self.valves = self.Valves()
    def pipe(self, body, __user__):
        return f"{self.valves.word} {__user__['valves'].tone}"
""",
        valves={"word": "chosen"},
    )
    UserValves.objects.set_values(function, bob, {"tone": "loud"})
    changed()
    assert api.chat("valved").content == "chosen plain"
    assert bobs_api.chat("valved").content == "chosen loud"


def test_valves_that_can_not_be_decrypted_stop_the_function_instead_of_becoming_defaults(api, pipe, changed, settings):
    pipe(
        "valved",
        "from pydantic import BaseModel\n\nclass Pipe:\n    class Valves(BaseModel):\n        word: str = 'default'\n"
        "    def __init__(self):\n        self.valves = self.Valves()\n"
        "    def pipe(self, body):\n        return self.valves.word\n",
        valves={"word": "secret"},
    )
    pipe("other", "return 'fine'")
    assert api.chat("valved").content == "secret"
    from cryptography.fernet import Fernet

    from pipeline_app import snapshot as module

    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    module.snapshot.__init__()  # type: ignore[misc]
    answer = api.chat("valved")
    assert (answer.status, answer.error["code"]) == (503, "function_unavailable")
    assert "default" not in answer.text
    assert api.chat("other").content == "fine"


def test_the_request_that_functions_see_shows_no_credential(api, pipe):
    pipe(
        "peeker",
        "import json\nreturn json.dumps([dict(__request__.headers), str(__request__.url), __request__.cookies])",
        signature="self, body, __request__",
    )
    answer = api.chat("peeker", extra_headers={"Cookie": "session=abc", "X-Custom": "yes"})
    headers, url, cookies = json.loads(answer.content)
    assert headers["x-custom"] == "yes"
    assert headers["authorization"] == "Bearer hidden"
    assert headers["cookie"] == "token=hidden"
    assert api.key not in answer.text
    assert "abc" not in json.dumps(cookies)
    assert url == "http://127.0.0.1:8000/v1/chat/completions"


def test_a_pipe_that_takes_too_long_is_stopped_with_a_reason(api, pipe):
    pipe("slow", "import time\nwhile True:\n    time.sleep(0.01)", policy={"time_limit": 0.3})
    answer = api.chat("slow")
    assert answer.status == 504
    assert answer.error["code"] == "time_limit"
    assert "it took longer than 0.3 s" in answer.error["message"]


def test_runs_record_each_step_with_the_authors_line(api, pipe, filters):
    from pipeline_app.models import Run
    from pipeline_app.runs import log

    pipe("broken", "print('looking')\nraise ValueError('no bananas')")
    filters("tracer", valves={"mark": "1"})
    answer = api.chat("broken", extra_headers={"X-Request-ID": "req-1"})
    log.write()
    run = Run.objects.get(pk=answer.headers["x-run-id"])
    assert (run.outcome, run.request_id, run.model) == ("failed", "req-1", "broken")
    assert [(s["function"], s["hook"]) for s in run.steps] == [
        ("tracer", "inlet"),
        ("tracer", "request"),
        ("broken", "pipe"),
    ]
    failed = run.steps[-1]
    assert failed["error"]["line"] == 4
    assert "raise ValueError('no bananas')" in failed["error"]["traceback"]
    assert failed["output"][0]["text"].strip() == "looking"
