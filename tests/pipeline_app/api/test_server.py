"""A real server over a real socket: the official client, HTTP's older forms, several processes."""

from __future__ import annotations

import json
import signal
import socket
import time

import httpx
import openai
import pytest

PIPES = """
from functions_app.models import Function, User
from pipeline_app.models import ApiKey
admin = User.objects.create_superuser("admin", "admin@example.org")
sources = {
    "greeter": "class Pipe:\\n    def pipe(self, body):\\n        return 'Good morning'\\n",
    "counter": "class Pipe:\\n    async def pipe(self, body):\\n        for n in range(5):\\n            yield f'{n} '\\n",
    "broken": "class Pipe:\\n    def pipe(self, body):\\n        raise ValueError('no bananas')\\n",
    "half": "class Pipe:\\n    def pipe(self, body):\\n        yield 'first'\\n        raise ValueError('lost')\\n",
    "big": "class Pipe:\\n    def pipe(self, body):\\n        return 'x' * 100_000\\n",
}
for name, source in sources.items():
    function = Function.objects.create_function(name, name, source)
    function.is_active = True
    function.save()
print(ApiKey.objects.issue(admin)[1])
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory, base_packages, empty_database):
    from tests.servers import Server

    server = Server(tmp_path_factory.mktemp("served") / "data", empty_database, environment={})
    server.key = server.shell(PIPES).splitlines()[-1]
    server.start()
    yield server
    # uvicorn stops its work in order, then ends by the signal it was sent.
    assert server.stop() in (0, -signal.SIGTERM)


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key) as client:
        yield client


def ask(client, model, **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}], **more)


def test_the_official_client_lists_models(client):
    assert [model.id for model in client.models.list()] == ["big", "broken", "counter", "greeter", "half"]
    assert client.models.retrieve("greeter").id == "greeter"


def test_the_official_client_chats_and_streams(client):
    completion = ask(client, "greeter")
    assert completion.choices[0].message.content == "Good morning"
    assert completion.choices[0].finish_reason == "stop"
    chunks = list(ask(client, "counter", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "0 1 2 3 4 "
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_official_client_gets_typed_errors(served, client):
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        ask(client, "nothing")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.chat.completions.create(model="greeter", messages=[])
    with pytest.raises(openai.InternalServerError, match="no bananas"):
        ask(client, "broken")
    with pytest.raises(openai.APIError, match="lost"):
        list(ask(client, "half", stream=True))
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="sk-wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        ask(stranger, "greeter")


def test_the_official_client_does_not_run_a_failed_function_again(served, client):
    with pytest.raises(openai.InternalServerError):
        ask(client, "broken", extra_headers={"X-Request-ID": "only-once"})
    time.sleep(3)  # runs are written once a second, and the client's own retries would have come by then
    runs = served.shell(
        "from pipeline_app.models import Run; print(Run.objects.filter(request_id='only-once').count())"
    )
    assert runs == "1"


async def test_the_official_async_client_works_too(served):
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key) as client:
        stream = await client.chat.completions.create(
            model="counter", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        text = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(text) == "0 1 2 3 4 "


def raw(served, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


def chat_request(served, version: str, model: str, *headers: str, stream: bool = False) -> bytes:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
    lines = [
        f"POST /v1/chat/completions HTTP/{version}",
        f"Host: 127.0.0.1:{served.port}",
        f"Authorization: Bearer {served.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_http_1_0_gets_whole_answers_and_streams_that_end_with_the_connection(served):
    answer = raw(served, chat_request(served, "1.0", "greeter"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Good morning" in answer
    assert b"transfer-encoding" not in answer.lower()
    assert b"content-length" in answer.lower()
    stream = raw(served, chat_request(served, "1.0", "counter", stream=True))
    assert b"transfer-encoding" not in stream.lower()
    assert stream.endswith(b"data: [DONE]\n\n")


def test_a_connection_serves_many_requests(served):
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}) as client:
        for _ in range(20):
            answer = client.post(
                "/v1/chat/completions", json={"model": "greeter", "messages": [{"role": "user", "content": "hi"}]}
            )
            assert answer.status_code == 200
        assert answer.headers.get("connection") != "close"
    twice = chat_request(served, "1.1", "greeter") + chat_request(served, "1.1", "greeter", "Connection: close")
    assert raw(served, twice).count(b"Good morning") == 2


def test_large_answers_are_compressed_and_streams_are_not(served):
    headers = {"Authorization": f"Bearer {served.key}", "Accept-Encoding": "gzip"}
    body = {"model": "big", "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{served.url}/v1/chat/completions", json=body, headers=headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 10_000
    assert answer.json()["choices"][0]["message"]["content"] == "x" * 100_000
    stream = httpx.post(f"{served.url}/v1/chat/completions", json={**body, "stream": True}, headers=headers)
    assert "content-encoding" not in stream.headers


def test_a_body_over_the_limit_is_refused_while_it_is_read(start_server):
    server = start_server(FUNCTIONS_MAX_BODY="100000")
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        content = b"x" * 5_000_000 if not headers else iter([b"x" * 100_000] * 50)
        answer = httpx.post(f"{server.url}/v1/chat/completions", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"
        assert answer.headers["connection"] == "close"


def test_health_and_metrics(served, settings):
    assert httpx.get(f"{served.url}/healthz").json() == {"status": True}
    ready = httpx.get(f"{served.url}/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"]["database"] == "ok"
    level = ready.json()["checks"]["isolation"]
    assert (
        level == "inline"
        if settings.FUNCTIONS_RUNNER == "inline"
        else level in ("process", "basic", "standard", "strict")
    )
    assert httpx.get(f"{served.url}/metrics").status_code == 401
    headers = {"Authorization": f"Bearer {served.key}"}
    assert "webui_functions_" in httpx.get(f"{served.url}/metrics", headers=headers).text


def test_the_admin_pages_come_from_the_stock_handler(served):
    answer = httpx.get(f"{served.url}/admin/login/")
    assert answer.status_code == 200
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert httpx.get(f"{served.url}/").headers["location"] == "/admin/"
    assert httpx.get(f"{served.url}/static/admin/css/base.css").status_code == 200
