"""What is no load: from an edit to the first answer with the new code, and the list of many models."""

from __future__ import annotations

import time

from benchmarks import client
from benchmarks.servers import Editor, Installation, Installations, ours

EDITS = 60
LISTS = 30
MANY = 500


def _milliseconds(values: list[float]) -> str:
    return f"{client.percentile(values, 0.5) * 1000:.1f} ms (p99 {client.percentile(values, 0.99) * 1000:.1f})"


async def edits(port: int, installation: Installation) -> list[tuple[str, str]]:
    """Edits a function beside the server, calls it at once; raises ``WrongAnswer`` when old code answers."""
    body = {"model": "edited", "messages": [{"role": "user", "content": "Hello"}]}
    request = client.Request(client.post("/v1/chat/completions", body, installation.key))
    whole, answers = [], []
    with Editor(installation.environment) as editor:
        editor.edit(1)
        for number in range(2, EDITS + 2):
            started = time.perf_counter()
            editor.edit(number)
            _, answer, seconds = await client.once(port, request)
            if f'"edit {number}"'.encode() not in answer:
                raise client.WrongAnswer(f"after edit {number} the server answered with old code: {answer!r}")
            whole.append(time.perf_counter() - started)
            answers.append(seconds)
    return [
        ("save, publish and first answer with the new code", _milliseconds(whole)),
        ("of it the answer", _milliseconds(answers)),
    ]


async def lists(installations: Installations) -> list[tuple[str, str]]:
    """Measures the model list of an installation with many functions, and its memory."""
    pipe = "class Pipe:\n    async def pipe(self, body):\n        return 'pipe {number}'\n"
    many = installations.make("many", {f"pipe_{n}": pipe.format(number=n) for n in range(MANY)})
    request = client.Request(client.get("/v1/models", many.key))
    with ours(many) as server:
        before = server.memory_mb()
        _, body, first = await client.once(server.port, request)
        if body.count(b'"id"') != MANY:
            raise client.WrongAnswer(f"{MANY} models were expected: {body[:300]!r}")
        times = [(await client.once(server.port, request))[2] for _ in range(LISTS)]
        memory = server.memory_mb()
    return [
        (f"list of {MANY} models, first", f"{first * 1000:.1f} ms"),
        (f"list of {MANY} models", _milliseconds(times)),
        (f"memory with {MANY} functions known, none called", f"{memory:.0f} MB ({memory - before:+.0f})"),
    ]
