"""The sandbox behind a real server: what clients see of it, and what is written down."""

from __future__ import annotations

import json
import time

import httpx
import pytest

SETUP = """
from functions_app.models import User
from pipeline_app.models import ApiKey
from tests.builders import make_function
alice = User.objects.create_superuser("alice", "alice@example.org")
make_function("calm", "class Pipe:\\n    def pipe(self, body): return 'calm'\\n")
make_function("unstable", "import os\\nclass Pipe:\\n    def pipe(self, body): os._exit(3)\\n")
make_function("endless", "import time\\nclass Pipe:\\n    def pipe(self, body):\\n        time.sleep(60)\\n",
    policy={"time_limit": {"pipe": 0.5}, "concurrency": 1})
make_function("shaky", "import os\\nclass Filter:\\n    def inlet(self, body):\\n        os._exit(4)\\n",
    policy={"on_error": "skip"})
from tests.builders import make_model
make_model("guarded", "calm", filters=["shaky"])
print("key:", ApiKey.objects.issue(alice, "tests")[1])
"""


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory, base_packages, empty_database):
    from tests.servers import Server

    server = Server(tmp_path_factory.mktemp("sandboxed"), empty_database, environment={"FUNCTIONS_RUNNER": "process"})
    server.start()
    server.key = server.shell(SETUP).rpartition("key: ")[2].split()[0]
    yield server
    server.stop()


def chat(server, model, **more):
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
    headers = {"Authorization": f"Bearer {server.key}"}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def content(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def test_a_crash_is_a_502_and_the_third_one_opens_the_breaker(sandboxed):
    for _ in range(3):
        answer = chat(sandboxed, "unstable")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (502, "worker_died")
        assert error["message"] == (
            "The worker of function 'unstable' ended during pipe: it left by itself with exit status 3"
        )
        assert content(chat(sandboxed, "calm")) == "calm"
    answer = chat(sandboxed, "unstable")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "function_crashing")
    assert 0 < int(answer.headers["Retry-After"]) <= 30
    time.sleep(1)
    script = "from pipeline_app.models import Trip; t = Trip.objects.get(); print(t.function, t.version, t.reason)"
    assert "unstable 1 it left by itself with exit status 3" in sandboxed.shell(script)


def test_a_filter_that_crashes_is_what_its_policy_says(sandboxed):
    for _ in range(4):
        assert content(chat(sandboxed, "guarded")) == "calm"


def test_a_limit_is_a_504_and_a_full_function_a_429(sandboxed):
    began = time.monotonic()
    answer = chat(sandboxed, "endless")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "time_limit")
    assert time.monotonic() - began < 5
    assert content(chat(sandboxed, "calm")) == "calm"


def test_the_run_says_what_it_cost(sandboxed):
    assert content(chat(sandboxed, "calm")) == "calm"
    time.sleep(1.5)
    script = (
        "import json; from pipeline_app.models import Run; "
        "print('step:', json.dumps(Run.objects.filter(model='calm').order_by('-started_at').first().steps[0]))"
    )
    step = json.loads(sandboxed.shell(script).rpartition("step: ")[2])
    assert step["cpu_ms"] > 0
    assert step["queue_ms"] < 1000
