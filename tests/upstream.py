"""A real server on loopback that speaks OpenAI's API, for functions under test to talk to.

``with Upstream() as upstream:`` starts it; ``upstream.base_url`` is where it answers, ``upstream.requests`` what it
got. The model that a request names decides what happens; ``MODELS`` lists them.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

MODELS = {
    "words": "answers with the last user message, a word a chunk",
    "reasoner": "the same after some reasoning_content",
    "tool-caller": "calls the tool get_weather, its arguments in several pieces",
    "ragged": "like words, but the body's pieces end anywhere, also within a character",
    "whole": "answers with one completion, also when a stream was asked for",
    "slow": "begins, then goes on with a word every 50 ms until the client leaves",
    "silent": "does not answer at all until the client leaves",
    "broken": "ends the connection after the first words",
    "error-<status>": "refuses with that status and OpenAI's error object; 429 is among the listed models",
    "html-<status>": "refuses with that status and a page that is no JSON",
    "not-json": "answers 200 with text that is no JSON",
}
WEATHER_CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Köln"}'},
}
CREATED = 1_700_000_000


@dataclass
class Received:
    """One request as it arrived. ``left`` is set when the client went away before the answer was complete."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    connection: tuple[str, int]
    left: threading.Event = field(default_factory=threading.Event)


class Upstream:
    """The server. With an ``api_key``, requests that bring another one are refused with 401."""

    def __init__(self, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.requests: list[Received] = []
        self.base_url = ""
        self._arrival = threading.Condition()

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._server = uvicorn.Server(
            uvicorn.Config(self, lifespan="off", ws="none", log_config=None, log_level="critical", access_log=False)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="upstream", daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the upstream did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def connections(self) -> int:
        """How many connections the requests came through."""
        return len({received.connection for received in self.requests})

    def wait_for_requests(self, count: int = 1, seconds: float = 5) -> bool:
        """Waits until so many requests have arrived. Returns whether they have."""
        with self._arrival:
            return self._arrival.wait_for(lambda: len(self.requests) >= count, seconds)

    def chats(self) -> list[Received]:
        """The requests for a completion."""
        return [received for received in self.requests if received.path.endswith("/chat/completions")]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        received = await _read(scope, receive)
        with self._arrival:
            self.requests.append(received)
            self._arrival.notify_all()
        answer = _Answer(received, receive, send)
        if self.api_key and received.headers.get("authorization") != f"Bearer {self.api_key}":
            await answer.refuse(401, "Incorrect API key provided.")
        elif (received.method, received.path) == ("GET", "/v1/models"):
            names = [name.replace("<status>", "429") for name in MODELS]
            models = [{"id": name, "object": "model", "created": CREATED, "owned_by": "upstream"} for name in names]
            await answer.json({"object": "list", "data": models})
        elif (received.method, received.path) == ("POST", "/v1/chat/completions"):
            await answer.chat()
        else:
            await answer.refuse(404, f"There is no {received.method} {received.path} here.")


class _Answer:
    """Writes the answer to one request."""

    def __init__(self, received: Received, receive: Receive, send: Send) -> None:
        self.received, self.send = received, send
        self.gone = asyncio.ensure_future(receive())  # the body is read, so what comes next is the disconnect

    async def chat(self) -> None:
        model = str(self.received.body["model"])
        kind, _, status = model.partition("-")
        if kind == "error":
            await self.refuse(int(status), f"The upstream says {status}.")
        elif kind == "html":
            await self.body(int(status), "text/html", b"<h1>Bad gateway</h1>")
        elif model == "not-json":
            await self.body(200, "text/plain", b"hello")
        elif model == "silent":
            await self.client_leaves(None)
        elif self.received.body.get("stream") and model != "whole":
            await self.stream(model)
        elif model == "slow":
            await self.client_leaves(None)
        else:
            await self.json(completion(self.received.body))

    async def stream(self, model: str) -> None:
        await self.start(200, "text/event-stream")
        frames = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode() for chunk in chunks(self.received.body)]
        if model == "slow":
            async for frame in self.paced(frames[1]):
                await self.piece(frame)
            return
        if model == "broken":
            await self.piece(b"".join(frames[:2]))
            raise ConnectionAbortedError("the upstream breaks off, as it was asked to")
        body = b"".join([*frames, b"data: [DONE]\n\n"])
        for piece in ragged(body) if model == "ragged" else [*frames, b"data: [DONE]\n\n"]:
            await self.piece(piece)
            if await self.client_leaves(0):
                return
        await self.end()

    async def paced(self, frame: bytes) -> AsyncIterator[bytes]:
        while not await self.client_leaves(0.05):
            yield frame

    async def client_leaves(self, seconds: float | None) -> bool:
        """Waits for the client to leave, at most so long. Returns whether it has."""
        await asyncio.wait({self.gone}, timeout=seconds)
        if self.gone.done():
            self.received.left.set()
        return self.gone.done()

    async def refuse(self, status: int, message: str) -> None:
        await self.json({"error": {"message": message, "type": "upstream_error", "param": None, "code": None}}, status)

    async def json(self, data: Any, status: int = 200) -> None:
        await self.body(status, "application/json", json.dumps(data).encode())

    async def body(self, status: int, content_type: str, body: bytes) -> None:
        await self.start(status, content_type)
        await self.piece(body)
        await self.end()

    async def start(self, status: int, content_type: str) -> None:
        headers = [(b"content-type", content_type.encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})
        self.gone.cancel()


async def _read(scope: Message, receive: Receive) -> Received:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    return Received(scope["method"], scope["path"], headers, json.loads(body) if body else None, tuple(scope["client"]))


# --- What it says -------------------------------------------------------------------------------------


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """The whole answer to a request."""
    message: dict[str, Any] = {"role": "assistant", "content": question(request)}
    if request["model"] == "reasoner":
        message["reasoning_content"] = "Let me think."
    if request["model"] == "tool-caller":
        message |= {"content": None, "tool_calls": [WEATHER_CALL]}
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": CREATED,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason(request)}],
        "usage": usage(request),
    }


def chunks(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same answer as the chunks of a stream."""

    def chunk(delta: dict[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-upstream",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": request["model"],
            "choices": [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    yield chunk({"role": "assistant", "content": ""})
    if request["model"] == "tool-caller":
        function = {**WEATHER_CALL["function"], "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, **WEATHER_CALL, "function": function}]})
        for piece in ('{"city"', ': "Kö', 'ln"}'):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    else:
        if request["model"] == "reasoner":
            yield from (chunk({"reasoning_content": piece}) for piece in ("Let me", " think."))
        yield from (chunk({"content": piece}) for piece in pieces(question(request)))
    yield chunk({}, finish_reason(request))
    if (request.get("stream_options") or {}).get("include_usage"):
        yield {**chunk(None), "usage": usage(request)}


def question(request: dict[str, Any]) -> str:
    content = next((message["content"] for message in reversed(request["messages"]) if message["role"] == "user"), "")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def pieces(text: str) -> Iterable[str]:
    """The words of a text, each with the space before it; never none, so that every answer has text."""
    first, *rest = text.split(" ")
    return [first or "...", *(f" {word}" for word in rest)]


def finish_reason(request: dict[str, Any]) -> str:
    return "tool_calls" if request["model"] == "tool-caller" else "stop"


def usage(request: dict[str, Any]) -> dict[str, int]:
    prompt = sum(len(str(message.get("content")).split()) for message in request["messages"])
    answer = len(question(request).split())
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def ragged(body: bytes) -> Iterator[bytes]:
    """Cuts a body into pieces of 1 to 13 bytes, wherever they end."""
    position, size = 0, 0
    while position < len(body):
        size = size % 13 + 1
        yield body[position : position + size]
        position += size
