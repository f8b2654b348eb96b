"""Publishing that takes long, at real servers: followed, stopped, killed, taken up again, failed and tried again."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.pipeline_app.api.functions.test_publishing import client
from tests.wheels import Index, make_wheel

CREATE, ID = "/api/v1/functions/create", "/api/v1/functions/id/{}"
RUN_OUT = (
    "from functions_app.models import FunctionVersion as V, Environment as E; "
    "[rows.objects.update(claimed_until='2020-01-01T00:00:00Z') for rows in (V, E)]"
)


class SlowIndex(Index):
    """An index that lets everybody wait until ``gate`` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()

    def answer(self, request) -> None:
        self.gate.wait(60)
        with contextlib.suppress(OSError):  # of a uv that was ended meanwhile
            super().answer(request)


@pytest.fixture
def index(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    with SlowIndex(folder) as index:
        yield index
        index.gate.set()


@pytest.fixture
def start(start_server, index, base_packages, tmp_path):
    """Starts servers of one installation whose packages come from that index, and which answer long before."""
    environments = tmp_path / "environments"
    environments.mkdir()
    (environments / base_packages.name).symlink_to(base_packages)

    def start(workers: int = 1):
        return start_server(
            data_dir=tmp_path / "data",
            workers=workers,
            FUNCTIONS_ENVIRONMENTS=str(environments),
            FUNCTIONS_INDEX_URL=index.url,
            FUNCTIONS_PUBLISH_SECONDS="0.3",
            UV_CACHE_DIR=str(tmp_path / "uv-cache"),
            UV_HTTP_RETRIES="0",
        )

    return start


class Alice:
    """Alice's way in, which finds a server again that was started again."""

    def __init__(self, server) -> None:
        with client(server) as first:
            self.headers = first.headers
        self.server = server

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.server.url + path, headers=self.headers, timeout=60)

    def post(self, path: str, json: Any = None) -> httpx.Response:
        return httpx.post(self.server.url + path, headers=self.headers, json=json, timeout=60)


def source(package: str) -> str:
    return (
        f'"""\nrequirements: {package}\n"""\nimport {package}\n\n\nclass Pipe:\n'
        f"    def pipe(self, body):\n        return '{package} ' + {package}.VERSION\n"
    )


def until(what, holds):
    """Looks until something holds, and returns what was seen then."""
    for _ in range(900):
        seen = what()
        if holds(seen):
            return seen
        time.sleep(0.05)
    raise AssertionError(seen)


def make_live_in_the_admin(server, id: str, number: int) -> str:
    """Publishes a version as alice does in her browser, and returns the page that follows."""
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=60) as browser:

        def send(path: str, **data: Any) -> httpx.Response:
            browser.get(path)
            token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            return browser.post(path, data={**token, **data}, headers={"Referer": server.url})

        send("/admin/login/", username="alice", password="alice")
        answer = send(f"/admin/functions_app/function/{id}/versions/", number=str(number))
        assert answer.status_code == 200, answer.text
        return answer.text


def settled(api: Alice, id: str) -> dict:
    return until(
        lambda: api.get(ID.format(id)).json(), lambda told: told["newest"]["state"] not in ("building", "draft")
    )


def says(api: Alice, id: str) -> str:
    body = {"model": id, "messages": [{"role": "user", "content": "hello"}]}
    answer = api.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def test_a_stopped_server_gives_work_back_and_a_killed_one_loses_none(start, index):
    make_wheel(index.folder, "slowpackage", "1.0")
    make_wheel(index.folder, "otherpackage", "2.0")
    server = start()
    api = Alice(server)
    begun = api.post(CREATE, json={"id": "slow", "content": source("slowpackage"), "name": "Slow"})
    assert (begun.status_code, begun.json()["state"]) == (202, "building")
    environment = until(lambda: api.get(ID.format("slow")).json()["newest"]["environment"], bool)
    assert (environment["state"], environment["error"]) == ("building", None)
    followed = until(lambda: api.get(f"/api/v1/environments/{environment['id']}").json(), lambda told: told["log"])
    assert followed["progress"] == "Finding versions of slowpackage"

    # Stopped in good order: the version is no worse for it, and the next server goes on at once.
    assert server.stop() in (0, -signal.SIGTERM)
    look = (
        "from functions_app.models import FunctionVersion as V; print(V.objects.values_list('state', 'claimed_by')[0])"
    )
    assert server.shell(look) == "('building', '')"
    index.gate.set()
    server.start()
    told = settled(api, "slow")
    assert (told["state"], told["name"], told["newest"]["error"]) == ("live", "Slow", None)
    assert api.post(ID.format("slow") + "/toggle").status_code == 200
    assert says(api, "slow") == "slowpackage 1.0"
    assert "Publishing slow v1, which waited for that" in server.log

    # Killed: what was live serves on, and of two processes that come one takes it up.
    index.gate.clear()
    code = source("otherpackage")
    server.shell(f"from functions_app.models import Function; Function.objects.get(pk='slow').save_source({code!r})")
    assert "Version 2 is being built" in make_live_in_the_admin(server, "slow", 2)
    until(lambda: api.get(ID.format("slow")).json()["newest"]["environment"], bool)
    assert says(api, "slow") == "slowpackage 1.0"
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait()
    server.process = None
    index.gate.set()
    server.shell(RUN_OUT)
    both = [server, start()]
    server.start()
    told = settled(api, "slow")
    assert (told["newest"]["error"], told["number"], told["name"]) == (None, 2, "Slow")
    assert says(api, "slow") == "otherpackage 2.0"
    assert sum(one.log.count("Publishing slow v2, which waited for that") for one in both) == 1
    by_requirement = {row["requirements"][0]: row for row in api.get("/api/v1/environments/").json()}
    assert {name: row["state"] for name, row in by_requirement.items()} == {
        "slowpackage": "ready",
        "otherpackage": "ready",
    }
    assert by_requirement["otherpackage"]["packages"] == {"otherpackage": "2.0"}


def test_what_failed_is_tried_again_when_somebody_asks(start, index):
    index.gate.set()
    server = start()
    api = Alice(server)
    plain = "class Pipe:\n    def pipe(self, body):\n        return 'plain'\n"
    assert until(lambda: api.post(CREATE, json={"id": "late", "content": plain}), bool).status_code in (200, 202)
    settled(api, "late")
    api.post(ID.format("late") + "/toggle")
    refused = api.post(ID.format("late") + "/update", json={"content": source("latepackage")})
    assert refused.status_code in (202, 400)
    newest = settled(api, "late")["newest"]
    assert (newest["state"], newest["error"]["type"]) == ("broken", "RequirementError")
    environment = newest["environment"]
    assert (environment["state"], environment["error"]["code"]) == ("failed", "unknown_package")
    assert says(api, "late") == "plain"
    asked = len(index.asked)

    # Nobody asks, so nobody tries; then it is there.
    make_wheel(index.folder, "latepackage", "3.0")
    server.stop()
    server.start()
    assert api.get(ID.format("late")).json()["newest"]["state"] == "broken"
    assert len(index.asked) == asked
    retried = api.post(f"/api/v1/environments/{environment['id']}/retry")
    assert (retried.status_code, retried.json()["state"], retried.json()["error"]) == (202, "building", None)
    told = settled(api, "late")
    assert (told["state"], told["number"]) == ("live", 2)
    assert says(api, "late") == "latepackage 3.0"
    ready = api.post(f"/api/v1/environments/{environment['id']}/retry")
    assert (ready.status_code, ready.json()["state"]) == (200, "ready")
    assert ready.json()["versions"] == [
        {"function_id": "late", "version_id": told["version_id"], "number": 2, "state": "live"}
    ]
    assert ready.json()["lock"].count("--hash=sha256:") == 1
