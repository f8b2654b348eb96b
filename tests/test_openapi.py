"""The schema is true: no request that it allows or forbids breaks the server.

Schemathesis makes the requests, for every operation there is, against a real server with functions, versions, files and
runs; most of its requests name one of those, so that it gets further than a 404. Of all that it thinks of, a part is
sent, the same in every run. ``OPENAPI_EXAMPLES=200`` makes it think of more, and sends all.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline_app.api.schema import document
from tests.routes import doors
from tests.servers import Server

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "8"))
SENT = 24 if EXAMPLES == 8 else 100_000
"""About how many requests of an operation are sent."""
SENT_AGAIN = SENT // 6
"""The same for a second path to a view, and for the schema itself, which takes long to check."""

CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 1,
        "generation": {
            "max-examples": EXAMPLES,
            "deterministic": True,
            "database": "none",
            "no-shrink": True,
            "with-security-parameters": False,
        },
        "phases": {"coverage": {"unexpected-methods": []}, "stateful": {"enabled": False}},
    }
)


# --- Every operation -----------------------------------------------------------------------------------------


HARMLESS = {"function_run_post"}
"""Operations that change nothing, though they are no GET."""

SOURCES = {
    "greeter": '''
"""
title: Greeter
"""
from pydantic import BaseModel


class Pipe:
    class Valves(BaseModel):
        greeting: str = "Hello"
        api_key: str = ""
        priority: int = 0

    class UserValves(BaseModel):
        loud: bool = False

    async def pipe(self, body, __event_emitter__=None):
        if __event_emitter__:
            await __event_emitter__({"type": "status", "data": {"description": "greeting", "done": True}})
        return "Hello"
''',
    "marker": '''
"""
title: Marker
"""
from pydantic import BaseModel


class Filter:
    class Valves(BaseModel):
        priority: int = 0

    class UserValves(BaseModel):
        mark: str = "!"

    toggle = True

    def inlet(self, body):
        return body

    def outlet(self, body):
        return body
''',
    "report": '''
"""
title: Report
"""


class Action:
    actions = [{"id": "short", "name": "Short"}]

    async def action(self, body, __event_call__=None):
        return {"content": "reported"}
''',
}

SET_UP = """
from functions_app.models import User
from pipeline_app.models import ApiKey
alice = User.objects.create_superuser("alice", "alice@example.org")
print(ApiKey.objects.issue(alice, "tests")[1])
"""
# What it asks for is refused without asking an index.
A_SET = """
from functions_app.models import Environment
error = {"code": "refused", "message": "An address is not taken."}
print(Environment.objects.create(requirements=["tiny @ file:///tiny"], state="failed", error=error, log="said").pk)
"""


class House:
    """A server in which something of everything exists. What an operation may change or delete is made for it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.headers = {"Authorization": f"Bearer {server.shell(SET_UP).splitlines()[-1]}"}
        self.client = httpx.Client(base_url=server.url, headers=self.headers, timeout=30)
        self.turns, self.numbers = itertools.count(), itertools.count()
        self.seen: Counter[str] = Counter()
        self.firsts: dict[tuple[Any, ...], str] = {}
        self.views = {(door.method, door.template): door.view for door in doors()}
        self.made: dict[str, str] = {}
        self.furnish()
        self.file = self.upload()
        self.environment = server.shell(A_SET).splitlines()[-1]
        chat = {"model": "greeter", "messages": [{"role": "user", "content": "Hi"}]}
        self.run = self.client.post("/v1/chat/completions", json=chat).headers["X-Run-ID"]

    # --- What exists ---

    def upload(self) -> str:
        return self.client.post("/api/v1/files/", files={"file": ("notes.txt", b"some notes")}).json()["id"]

    def create(self, name: str, source: str) -> None:
        """Makes a function with two versions."""
        form = {"id": name, "name": name, "content": source, "meta": {"description": ""}}
        for path, content in (("create", source), (f"id/{name}/update", source + "\n")):
            answer = self.client.post(f"/api/v1/functions/{path}", json={**form, "content": content})
            assert answer.status_code == 200, answer.text

    def furnish(self) -> None:
        """Makes the functions that everybody relies on, where they are missing."""
        if self.client.get("/api/v1/functions/id/greeter").status_code == 404:
            for name, source in SOURCES.items():
                self.client.delete(f"/api/v1/functions/id/{name}/delete")
                self.create(name, source)
                assert self.client.post(f"/api/v1/functions/id/{name}/toggle").json()["is_active"]

    def known(self, case: Any) -> dict[str, str]:
        """Returns what exists, by the names of variables in paths."""
        operation = case.operation.definition.raw["operationId"]
        changes = case.method != "GET" and operation not in HARMLESS
        deletes = case.method == "DELETE"
        found = {"model_id": "greeter", "action_id": "report.short", "run_id": self.run, "name": "notes.txt"}
        found["environment_id"] = self.environment
        if "file_id" in case.path_parameters:
            found["file_id"] = self.upload() if deletes else self.file
        if "function_id" in case.path_parameters:
            if deletes or (changes and operation not in self.made):
                self.made[operation] = f"made{next(self.numbers)}"
                self.create(self.made[operation], SOURCES["marker"])
            found["function_id"] = self.made[operation] if changes else "greeter"
        if "history_id" in case.path_parameters:
            versions = self.client.get(f"/api/v1/functions/id/{found['function_id']}/history").json()
            found["history_id"] = versions[-1]["id"]
        return found

    # --- Requests ---

    def is_enough(self, case: Any) -> bool:
        """Whether a request is left out: the more there were of its operation, the fewer of the next are sent."""
        label = case.operation.label
        door = (case.operation.method.upper(), case.operation.path)
        first = self.firsts.setdefault((door[0], self.views[door]), label) == label
        most = SENT if first and label != "GET /api/schema/" else SENT_AGAIN
        number = self.seen[label]
        self.seen[label] += 1
        return number % (2 * number // most + 1) != 0

    def open_to(self, case: Any) -> Any:
        """Lets most requests name what exists, and some have code and models that can be used."""
        turn = next(self.turns)
        if case.path_parameters and turn % 4:
            known = self.known(case)
            for name in case.path_parameters:
                if name in known:
                    case.path_parameters[name] = known[name]
        if isinstance(case.body, dict) and turn % 3:
            usable = {"content": SOURCES["greeter"], "model": "greeter", "id": f"made{next(self.numbers)}"}
            case.body |= {name: usable[name] for name in usable if isinstance(case.body.get(name), str)}
        return case


@pytest.fixture(scope="module")
def house(tmp_path_factory, base_packages, empty_database) -> Iterator[House]:
    server = Server(tmp_path_factory.mktemp("house"), empty_database, environment={})
    server.start()
    house = House(server)
    yield house
    house.client.close()
    server.stop()


@pytest.mark.browser
def test_the_page_shows_every_operation_under_the_strict_policy(house, tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", f"{house.server.url}/api/docs/",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    shown = set(re.findall(r'data-path="([^"]+)"', done.stdout.replace("\u200b", "")))
    assert shown == set(document()["paths"])
    assert "Content Security Policy" not in done.stderr


schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document())), config=CONFIG)


@schema.parametrize()
def test_no_request_gets_an_answer_that_the_schema_does_not_know(case, house):
    if house.is_enough(case):
        return
    house.open_to(case).call_and_validate(base_url=house.server.url, headers=house.headers, checks=CHECKS)
    if case.path.endswith("/sync"):
        house.furnish()  # it may have taken away what the others rely on
