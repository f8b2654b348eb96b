"""Clients that functions use, in real workers: they reach what the policy allows and fail clearly where it does not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
import uvloop

from functions_app.policy import Policy
from pipeline_app.hostcalls import HostCalls
from pipeline_app.runners import destinations
from pipeline_app.runners.base import Code, Task
from pipeline_app.runners.process import ProcessRunner
from pipeline_app.snapshot import Person

SOURCE = '''
import asyncio
import socket
import urllib.request


def with_urllib(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status


def with_requests(url):
    import requests

    with requests.Session() as session:
        session.get(url, timeout=5)
        return session.get(url, timeout=5).status_code


def with_httpx(url):
    import httpx

    return httpx.get(url, timeout=5, follow_redirects=True).status_code


async def with_httpx_async(url):
    import httpx

    async with httpx.AsyncClient(timeout=5) as client:
        answers = await asyncio.gather(*(client.get(url) for _ in range(8)))
        return max(answer.status_code for answer in answers)


async def with_aiohttp(url):
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


def with_openai(url):
    import openai

    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=5)
    return 200 if [model.id for model in client.models.list()] == ["one"] else 0


async def with_openai_async(url):
    import openai

    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=5)
    chunks = await client.chat.completions.create(model="one", messages=[], stream=True)
    return 200 if [c.choices[0].delta.content async for c in chunks] == ["hel", "lo"] else 0


def with_socket(url):
    host, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        return int(line.recv(100).split()[1])


async def with_streams(url):
    host, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    status = int((await reader.read(100)).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


def whole(error):
    """Returns everything that an error says, with what caused it."""
    said = []
    while error is not None:
        said.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        if isinstance(error, str):
            error = None
    return " / ".join(said)


class Pipe:
    async def pipe(self, body):
        client = globals()["with_" + body["client"]]
        try:
            if asyncio.iscoroutinefunction(client):
                return str(await client(body["url"]))
            return str(await asyncio.to_thread(client, body["url"]))
        except Exception as error:
            return whole(error)
'''

CLIENTS = (
    "urllib",
    "requests",
    "httpx",
    "httpx_async",
    "aiohttp",
    "openai",
    "openai_async",
    "socket",
    "streams",
)


class Server(ThreadingHTTPServer):
    """A server that many clients may knock at together."""

    request_queue_size = 100


class Provider(BaseHTTPRequestHandler):
    """Answers like a provider of models; ``/away/...`` redirects to the address that follows."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/away/"):
            self.send_response(302)
            self.send_header("Location", "http://" + unquote(self.path.removeprefix("/away/")))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send("application/json", json.dumps({"object": "list", "data": [{"id": "one"}]}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("hel", "lo")]
        frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        self._send("text/event-stream", "".join(frames) + "data: [DONE]\n\n")

    def _send(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a provider on loopback."""
    with Server(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


PERSON = Person(
    "u1",
    False,
    {"id": "u1", "email": "", "name": "Ann", "last_active_at": 1, "updated_at": 1, "created_at": 1},
    frozenset(),
    None,
    frozenset(),
    None,
    {},
    {},
)


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., str]]:
    """Runs a pipe in a real worker under a policy: ``run(source, body, **policy)`` returns what it said."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        runner = ProcessRunner(host_calls=HostCalls())
        loop.run(runner.open())

        async def story(source: str, body: dict[str, Any], policy: Policy) -> str:
            key = hashlib.sha256((source + repr(policy)).encode()).hexdigest()
            worker = await runner.prepare(Code(f"f{key[:8]}", 1, key, source, policy))
            task = Task("pipe", body, {"user": PERSON.user, "metadata": {}, "id": "f"}, {}, caller=PERSON)
            stream = runner.stream(worker, task)
            try:
                return "".join([item async for items in stream for item in items])
            finally:
                await stream.aclose()
                worker.release()

        yield lambda source, body, **policy: loop.run(story(source, body, Policy(**policy)))
        loop.run(runner.close())


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_on_the_allow_list_is_reached(run, port, client):
    body = {"client": client, "url": f"http://127.0.0.1:{port}/"}
    assert run(SOURCE, body, network="none", allow=(f"127.0.0.1:{port}",)) == "200"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_name_on_the_allow_list_is_reached(run, port, client):
    body = {"client": client, "url": f"http://localhost:{port}/"}
    assert run(SOURCE, body, network="public", allow=(f"localhost:{port}",)) == "200"


@pytest.mark.parametrize("client", CLIENTS)
def test_loopback_is_refused_otherwise(run, port, client):
    said = run(SOURCE, {"client": client, "url": f"http://127.0.0.1:{port}/"}, network="public")
    assert "Permission denied" in said, said


@pytest.mark.parametrize("client", CLIENTS)
def test_a_name_that_leads_to_loopback_is_refused_with_a_sentence(run, port, client):
    said = run(SOURCE, {"client": client, "url": f"http://localhost:{port}/"}, network="public")
    assert f"This function may not reach localhost:{port}: it leads to 127.0.0.1, a loopback address." in said, said


@pytest.mark.parametrize("client", CLIENTS)
def test_a_name_that_is_not_on_the_list_is_not_even_looked_up(run, client):
    said = run(SOURCE, {"client": client, "url": "http://secret.example.com:80/"}, network="none", allow=("localhost",))
    assert "This function may not reach secret.example.com:80: not on the allow list of its policy." in said, said


@pytest.mark.parametrize("client", ["urllib", "requests", "httpx", "aiohttp"])
@pytest.mark.parametrize("away", ["169.254.169.254/latest/", "[::1]:PORT/", "127.0.0.2:PORT/", "127.0.0.1:1/"])
def test_a_redirect_leads_no_further_than_a_connection(run, port, client, away):
    url = f"http://127.0.0.1:{port}/away/{away.replace('PORT', str(port))}"
    said = run(SOURCE, {"client": client, "url": url}, network="public", allow=(f"127.0.0.1:{port}",))
    assert said != "200"
    # urllib3 believes that there is no IPv6 where it may not bind.
    assert "Permission denied" in said or "Address family for hostname not supported" in said, said


def test_where_functions_went_is_counted(run, port, monkeypatch):
    monkeypatch.setattr(destinations.log, "_seen", {})
    allow = (f"localhost:{port}",)
    run(SOURCE, {"client": "socket", "url": f"http://localhost:{port}/"}, network="public", allow=allow, memory_mb=511)
    run(SOURCE, {"client": "socket", "url": "http://10.0.0.1:5432/"}, network="public", allow=allow, memory_mb=511)
    counted = {(c.verdict, c.host, c.port, reason): n for c, (n, _, reason) in destinations.log._seen.items()}
    assert counted == {
        ("reached", "localhost", port, ""): 1,
        ("refused", "10.0.0.1", 5432, "a private address"): 1,
    }


ASKING = """
from open_webui.models.users import Users

class Pipe:
    async def pipe(self, body, __user__):
        one = Users.get_user_by_id(__user__["id"])
        two = await Users.get_user_by_id(__user__["id"])
        try:
            await Users.get_user_by_id(7 * "x" * 100)
        except Exception as error:
            return f"{one.name} {two.name} {type(error).__name__}: {error}"
"""


def test_host_calls_work_from_a_worker_awaited_and_not(run):
    assert run(ASKING, {}) == ("Ann Ann HostError: 'id' of users.get must be text of at most 255 characters.")
    with pytest.raises(Exception, match=r"its policy does not have the grant 'users.read'"):
        run(ASKING, {}, grants=("events",))
