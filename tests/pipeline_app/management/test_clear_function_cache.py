from __future__ import annotations

import json
import urllib.request
from io import StringIO

from django.core.cache import caches
from django.core.management import call_command

from functions_app import generation
from functions_app.models import Generation

PREPARE = """
from functions_app.models import Function, User
from pipeline_app.models import ApiKey
alice = User.objects.create_superuser("alice", "", "alice")
source = "class Pipe:\\n    def pipe(self, body):\\n        return 'hello'\\n"
function = Function.objects.create_function("greeter", "Greeter", source, alice)
function.is_active = True
function.save()
print(ApiKey.objects.issue(alice)[1])
"""
RENAME_BEHIND_THE_BACK = """
from django.db import connection
connection.cursor().execute("UPDATE functions_app_function SET name = 'Renamed'")
"""


def test_both_generations_are_replaced_and_caches_emptied(db, django_capture_on_commit_callbacks):
    caches["default"].set("kept", 1)
    before = generation.stored()
    out = StringIO()
    with django_capture_on_commit_callbacks(execute=True):
        call_command("clear_function_cache", stdout=out)
    after = generation.stored()
    assert all(new and new != old for new, old in zip(after, before, strict=True))
    assert generation.publication().read() == after
    assert Generation.objects.count() == 3
    assert caches["default"].get("kept") is None
    assert out.getvalue() == "Cleared. Running servers read and load everything again with their next request.\n"


def test_a_running_server_reads_everything_again(server):
    key = server.shell(PREPARE).splitlines()[-1]

    def names() -> list[str]:
        request = urllib.request.Request(f"{server.url}/api/models", headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request) as response:
            return [model["name"] for model in json.load(response)["data"]]

    assert names() == ["Greeter"]
    server.shell(RENAME_BEHIND_THE_BACK)
    server.manage("clear_function_cache")
    assert names() == ["Renamed"]


COUNTER = """
from functions_app.models import Function
source = "class Pipe:\\n    def __init__(self):\\n        self.calls = 0\\n    def pipe(self, body):\\n        self.calls += 1\\n        return str(self.calls)\\n"
function = Function.objects.create_function("counter", "Counter", source)
function.is_active = True
function.save()
"""


def test_a_running_server_loads_everything_again(server):
    key = server.shell(PREPARE).splitlines()[-1]
    server.shell(COUNTER)

    def count() -> str:
        body = json.dumps({"model": "counter", "messages": [{"role": "user", "content": "hi"}]}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.url}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request) as response:
            return json.load(response)["choices"][0]["message"]["content"]

    assert [count(), count()] == ["1", "2"]
    server.manage("clear_function_cache")
    assert count() == "1"
