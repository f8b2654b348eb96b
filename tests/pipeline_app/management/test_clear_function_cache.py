from __future__ import annotations

import json
import sqlite3
import urllib.request
from contextlib import closing
from io import StringIO

import pytest
from django.core.cache import caches
from django.core.management import call_command

from functions_app import generation
from functions_app.models import Generation
from tests.servers import Server

PREPARE = """
from functions_app.models import Function, User
from pipeline_app.models import ApiKey
alice = User.objects.create_superuser("alice")
sources = {
    "greeter": "class Pipe:\\n    def pipe(self, body):\\n        return 'hello'\\n",
    "counter": "class Pipe:\\n    def __init__(self):\\n        self.calls = 0\\n    def pipe(self, body):\\n        self.calls += 1\\n        return str(self.calls)\\n",
}
for name, source in sources.items():
    function = Function.objects.create_function(name, name.title(), source, alice)
    function.is_active = True
    function.save()
print(ApiKey.objects.issue(alice)[1])
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory, base_packages, empty_database):
    """A server with two functions, and alice's key to it; each test is about another function."""
    server = Server(tmp_path_factory.mktemp("server") / "data", empty_database, environment={})
    server.key = server.shell(PREPARE).splitlines()[-1]
    server.start()
    yield server
    server.stop()


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


def test_a_running_server_reads_everything_again(running):
    def name() -> str:
        headers = {"Authorization": f"Bearer {running.key}"}
        request = urllib.request.Request(f"{running.url}/api/models", headers=headers)
        with urllib.request.urlopen(request) as response:
            models = json.load(response)["data"]
        assert [model["id"] for model in models] == ["counter", "greeter"]
        return models[1]["name"]

    assert name() == "Greeter"
    with closing(sqlite3.connect(running.data_dir / "db.sqlite3", timeout=20)) as behind_the_back, behind_the_back:
        behind_the_back.execute("UPDATE functions_app_function SET name = 'Renamed' WHERE id = 'greeter'")
    running.manage("clear_function_cache")
    assert name() == "Renamed"


def test_a_running_server_loads_everything_again(running):
    def count() -> str:
        body = json.dumps({"model": "counter", "messages": [{"role": "user", "content": "hi"}]}).encode()
        headers = {"Authorization": f"Bearer {running.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{running.url}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request) as response:
            return json.load(response)["choices"][0]["message"]["content"]

    assert [count(), count()] == ["1", "2"]
    running.manage("clear_function_cache")
    assert count() == "1"
