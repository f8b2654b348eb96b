"""What is measured: which request goes to which server over how many connections, and what the answer must be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from benchmarks import client, peers
from benchmarks.functions import ANSWER, CHUNKS, FILTERS, chunk_text
from benchmarks.servers import ASYNC_FILTERS, INLINE, NO_FILTERS, SYNC_FILTERS

BARE, STOCK = "bare ASGI app", "stock Django"
PLAIN = (NO_FILTERS, NO_FILTERS + INLINE)
FILTERED = (ASYNC_FILTERS, ASYNC_FILTERS + INLINE, SYNC_FILTERS, SYNC_FILTERS + INLINE)
SERVERS = (BARE, STOCK, *PLAIN, *FILTERED)
MARKS = "".join(str(number) for number in range(1, FILTERS + 1))


@dataclass(frozen=True)
class Case:
    """One row of the report. Ratios are to the bare app's row of the same workload and connections."""

    workload: str
    server: str
    model: str
    connections: int
    stream: bool = False
    bystander: bool = False
    """Whether a request on another pipe goes on beside the load; its times are then the latencies reported."""
    first: bool = False
    """Whether the times until the first frame are the latencies reported."""

    @property
    def name(self) -> str:
        return f"{self.workload}, {self.connections} connections, {self.server}"

    @property
    def filtered(self) -> bool:
        return self.server in FILTERED

    @property
    def chunks(self) -> list[str]:
        """The texts that the stream brings."""
        texts = ["first", " and last"] if self.model == "first" else [chunk_text(number) for number in range(CHUNKS)]
        return [text + MARKS for text in texts] if self.filtered else texts

    def request(self, key: str) -> client.Request:
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": "Hello, how are you?"}]}
        frames = None
        if self.stream:
            body["stream"] = True
            frames = len(self.chunks) + 1 + self.filtered  # the ending, and word of the changed outlet
        return client.Request(client.post("/v1/chat/completions", body, key), frames)

    def check(self, head: bytes, body: bytes) -> None:
        """Compares one answer with what it has to be, all but id and time. Raises ``WrongAnswer``."""
        if self.stream:
            self._check_stream(body)
            return
        answer = json.loads(body)
        text = ANSWER + MARKS if self.filtered else ANSWER
        model = self.model if self.server not in (BARE, STOCK) else peers.MODEL
        expected = json.loads(peers.completion(answer["id"], answer["created"], model, text))
        self._same(answer, expected)

    def _check_stream(self, body: bytes) -> None:
        *frames, end = body.split(b"\n\n")
        if end or frames.pop() != b"data: [DONE]" or not all(frame.startswith(b"data: ") for frame in frames):
            raise client.WrongAnswer(f"{self.name}: no whole stream of frames: {body[-300:]!r}")
        chunks = [json.loads(frame[6:]) for frame in frames]
        first = chunks[0]
        if self.filtered:
            event = chunks.pop()["event"]
            told = event["data"]["messages"][-1]["content"]
            self._same((event["type"], told), ("chat:outlet", "".join(self.chunks) + MARKS))
        model = self.model if self.server != BARE else peers.MODEL
        expected = peers.frames(first["id"], first["created"], model, self.chunks)[:-1]
        for chunk, wanted in zip(chunks, expected, strict=True):
            self._same(chunk, json.loads(wanted[6:]))

    def _same(self, answer: Any, expected: Any) -> None:
        if answer != expected:
            raise client.WrongAnswer(f"{self.name}: the answer is\n{answer}\ninstead of\n{expected}")


def cases() -> list[Case]:
    """Returns all rows, in the order of the report."""
    plain, streamed, waits = "plain answer", f"stream of {CHUNKS} chunks", "pipe that waits 50 ms"
    rows: list[Case] = []
    for connections in (1, 16, 64):
        rows += [Case(plain, server, "hello", connections) for server in (BARE, STOCK, *PLAIN)]
        if connections == 16:
            rows += [Case(f"{plain}, sync pipe", server, "hello_sync", connections) for server in PLAIN]
            rows += [Case(plain, server, "hello", connections) for server in FILTERED]
    for connections in (1, 16):
        rows += [
            Case(streamed, BARE, "stream", connections, stream=True),
            Case(f"{streamed}, frames joined", BARE, "joined", connections, stream=True),
            *(Case(streamed, server, "stream", connections, stream=True) for server in PLAIN),
            *(Case(f"{streamed}, sync generator", server, "stream_sync", connections, stream=True) for server in PLAIN),
        ]
        if connections == 16:
            rows += [Case(streamed, server, "stream", connections, stream=True) for server in FILTERED]
    rows += [Case("first chunk", server, "first", 1, stream=True, first=True) for server in PLAIN]
    rows.append(Case(waits, BARE, "sleeper", 200))
    for server in PLAIN:
        rows += [
            Case(f"{waits}, async", server, "sleeper", 200, bystander=True),
            Case(f"{waits}, sync", server, "sleeper_sync", 200, bystander=True),
        ]
    return rows


def limit_of(case: Case, rows: list[Case]) -> Case | None:
    """Returns the bare app's row that a row is compared with; None when there is none."""
    workload = case.workload.partition(",")[0]
    for row in rows:
        if row.server == BARE and (row.workload, row.connections) == (workload, case.connections):
            return row
    return None
