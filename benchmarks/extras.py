"""What is no load: from an edit to the first answer, the list of many models, workers, and sets of packages."""

from __future__ import annotations

import json
import time

from benchmarks import client, functions
from benchmarks.servers import Editor, Installation, Installations, manage, ours

EDITS = 60
LISTS = 30
SETS = 5
MANY = 500
WORKERS = 10


def _milliseconds(values: list[float]) -> str:
    return f"{client.percentile(values, 0.5) * 1000:.1f} ms (p99 {client.percentile(values, 0.99) * 1000:.1f})"


async def edits(name: str, port: int, installation: Installation) -> list[tuple[str, str]]:
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
        (f"save, publish and first answer with the new code ({name})", _milliseconds(whole)),
        (f"of it the answer ({name})", _milliseconds(answers)),
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


async def workers(installations: Installations) -> list[tuple[str, str]]:
    """Measures what a running function adds: memory, and the time of its first call."""
    rows = []
    for what, source in functions.ORDINARY.items():
        made = installations.make(what.replace(" ", "-"), {f"pipe_{number}": source for number in range(WORKERS + 1)})
        with ours(made) as server:
            await _answer(server.port, made, "pipe_0")
            before, processes = server.memory_mb(), server.processes()
            first = [await _answer(server.port, made, f"pipe_{number}") for number in range(1, WORKERS + 1)]
            for _ in range(20):
                for number in range(1, WORKERS + 1):
                    await _answer(server.port, made, f"pipe_{number}")
            added = server.memory_mb() - before
            if server.processes() - processes != WORKERS:
                raise RuntimeError(f"{WORKERS} workers were expected, there are {server.processes() - processes} more")
        rows += [
            (f"memory that each of {WORKERS} running functions adds ({what})", f"{added / WORKERS:.1f} MB"),
            (f"first call of a function, its worker started for it ({what})", _milliseconds(first)),
        ]
    return rows


async def _answer(port: int, installation: Installation, model: str) -> float:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    request = client.Request(client.post("/v1/chat/completions", body, installation.key))
    _, answer, seconds = await client.once(port, request)
    if functions.ANSWER.encode() not in answer:
        raise client.WrongAnswer(f"{model} answered {answer!r}")
    return seconds


PACKAGES = """
import json, shutil, tempfile, time
from pathlib import Path
from types import SimpleNamespace
from django.conf import settings
from pipeline_app.runners.environments import build, stored
from pipeline_app.runners.environments.locks import Asked
from pipeline_app.runners.environments.uv import Budget, silent

def timed(work):
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started

def find():
    return Asked(["requests"], Budget(), silent, None).versions([])

with tempfile.TemporaryDirectory(dir=settings.DATA_DIR) as folder:
    settings.FUNCTIONS_ENVIRONMENTS = Path(folder)
    lock = find()
    known = stored(SimpleNamespace(requirements=["requests"], lock=lock, digest="", kind="complete"))
    times = {"resolved": [], "built": [], "known": []}
    shutil.rmtree(build(known))  # what fills the cache is not counted
    for _ in range(SETS):
        times["resolved"].append(timed(find)[1])
        times["built"].append(timed(lambda: build(known))[1])
        path, seconds = timed(lambda: build(known))
        times["known"].append(seconds)
        shutil.rmtree(path)
print(json.dumps(times))
"""


def packages(installations: Installations) -> list[tuple[str, str]]:
    """Measures how a function comes to its packages, with what uv has in its cache; needs a package index."""
    made = installations.make("packages", {})
    command = f"SETS = {SETS}\n{PACKAGES}"
    times = json.loads(manage(made.environment, "shell", "--verbosity", "0", "--command", command).splitlines()[-1])
    return [
        ("versions found for requests, warm cache", _milliseconds(times["resolved"])),
        ("set of packages built for requests, warm cache", _milliseconds(times["built"])),
        ("set of packages that is there already", _milliseconds(times["known"])),
    ]
