"""What the server is measured against: the barest ASGI app, and a stock Django project, with the same bytes to write.

``bare`` and ``stock`` are ASGI applications for uvicorn. Both read the JSON body and answer a plain request
with a completion, a request with ``"stream": true`` with 500 frames; ``bare`` joins them into
larger writes for the model "joined".
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.functions import ANSWER, CHUNKS, chunk_text

CREATED = 1_750_000_000
ID = "chatcmpl-0123456789abcdef0123456789abcdef"
MODEL = "hello"
JOINED = 64
SLEEP_SECONDS = 0.05


def completion(id: str, created: int, model: str, text: str) -> bytes:
    """Returns the body of a plain answer as this server writes it."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _dumps({"id": id, "object": "chat.completion", "created": created, "model": model, "choices": [choice]})


def frames(id: str, created: int, model: str, texts: list[str]) -> list[bytes]:
    """Returns the frames of a streamed answer as this server writes them."""
    out = []
    for number, text in enumerate(texts):
        delta = {"role": "assistant", "content": text} if number == 0 else {"content": text}
        out.append(frame(id, created, model, delta, None))
    return [*out, frame(id, created, model, {}, "stop"), b"data: [DONE]\n\n"]


def frame(id: str, created: int, model: str, delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice]}
    return b"data: " + _dumps(chunk) + b"\n\n"


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


PLAIN = completion(ID, CREATED, MODEL, ANSWER)
FRAMES = frames(ID, CREATED, MODEL, [chunk_text(number) for number in range(CHUNKS)])
JOINED_FRAMES = [b"".join(FRAMES[start : start + JOINED]) for start in range(0, len(FRAMES), JOINED)]

_json_head = [(b"content-type", b"application/json"), (b"content-length", str(len(PLAIN)).encode())]
_stream_head = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body, writes the answer; nothing else."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    asked = json.loads(body) if body else {}
    if not asked.get("stream"):
        if asked.get("model") == "sleeper":
            await asyncio.sleep(SLEEP_SECONDS)
        await send({"type": "http.response.start", "status": 200, "headers": _json_head})
        await send({"type": "http.response.body", "body": PLAIN})
        return
    await send({"type": "http.response.start", "status": 200, "headers": _stream_head})
    for part in JOINED_FRAMES if asked["model"] == "joined" else FRAMES:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
