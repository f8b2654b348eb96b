"""Two hundred streams at once, every byte of each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re

ASYNC_PIPE = """
import asyncio
import hashlib


class Pipe:
    async def pipe(self, body):
        name = body["messages"][-1]["content"]
        for number in range(40):
            yield f"{name} {number} {hashlib.sha256(f'{name}{number}'.encode()).hexdigest()} « é 😀 »\\n"
            await asyncio.sleep(0.25)
"""
SYNC_PIPE = ASYNC_PIPE.replace("async def", "def").replace("await asyncio.sleep", "time.sleep").replace(
    "import asyncio", "import time"
)  # fmt: skip

FRAME = (
    'data: {{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":"{model}",'
    '"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]}}\n\n'
)
HEAD = re.compile(rb'data: \{"id":"(chatcmpl-[0-9a-f]{32})","object":"chat.completion.chunk","created":(\d+),')


def expected(model: str, name: str, id: str, created: str) -> bytes:
    """Returns the bytes of a stream up to its ending."""

    def frame(delta: dict[str, str]) -> str:
        written = json.dumps(delta, ensure_ascii=False, separators=(",", ":"))
        return FRAME.format(id=id, created=created, model=model, delta=written)

    out = []
    for number in range(40):
        text = f"{name} {number} {hashlib.sha256(f'{name}{number}'.encode()).hexdigest()} « é 😀 »\n"
        out.append(frame({"role": "assistant", "content": text} if number == 0 else {"content": text}))
    return "".join(out).encode()


def check(model: str, name: str, got: bytes) -> str:
    """Compares a whole stream with what it has to be, and returns its id."""
    head = HEAD.match(got)
    assert head, got[:300]
    id, created = head.group(1).decode(), head.group(2).decode()
    words = expected(model, name, id, created)
    assert got[: len(words)] == words
    ending, done, rest = got[len(words) :].decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    wanted = {"id": id, "object": "chat.completion.chunk", "created": int(created), "model": model, "choices": [choice]}
    assert json.loads(ending.removeprefix("data: ")) == wanted
    return id


def test_two_hundred_streams_over_ten_seconds_each_get_their_own_bytes(scene):
    scene.store({"async_pipe": ASYNC_PIPE, "sync_pipe": SYNC_PIPE})
    names = [("sync_pipe" if n % 4 == 0 else "async_pipe", f"stream {n} {'x' * (n % 7)}") for n in range(200)]
    under_way = most = 0
    ids = set()

    async def one(client, model, name):
        nonlocal under_way, most
        got = b""
        async with client.stream("POST", "/v1/chat/completions", json=scene.body(model, name, stream=True)) as answer:
            assert answer.status_code == 200
            under_way += 1
            most = max(most, under_way)
            async for piece in answer.aiter_raw():
                got += piece
        under_way -= 1
        ids.add(check(model, name, got))

    async def all_of_them():
        async with scene.client() as client:
            await asyncio.gather(*(one(client, model, name) for model, name in names))

    asyncio.run(all_of_them())
    assert most == 200
    assert len(ids) == 200
