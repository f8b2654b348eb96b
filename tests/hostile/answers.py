"""Chats with a server under attack, and which outcome their answers show."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any

from tests.hostile.cases import case as outcomes

CODES = {
    "worker_died": outcomes.KILLED,
    "time_limit": outcomes.TIME,
    "cpu_limit": outcomes.CPU,
    "memory_limit": outcomes.MEMORY,
    "disk_limit": outcomes.DISK,
    "thread_limit": outcomes.THREADS,
    "threads_limit": outcomes.THREADS,
    "output_limit": outcomes.OUTPUT,
    "model_not_found": outcomes.NOT_FOUND,
}
MOST_KEPT = 8 << 20
UNREAD_SECONDS = 6.0


class Client:
    """Somebody who calls the server with a key; every call has a connection of its own."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    def ask(self, model: str, text: str, *, how: str = "chat", timeout: float = 60, **more: Any) -> tuple[int, str]:
        """Returns status and text of a chat answer, of a failed one its body.

        ``how`` is chat or stream; unread leaves a stream alone for a while first; leave goes away after its beginning.
        """
        stream = how != "chat"
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **more}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        if how == "unread":
            connection.sock = _with_little_room(self.port, timeout)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            if stream and answer.status == 200:
                if how == "unread":
                    time.sleep(UNREAD_SECONDS)
                elif how == "leave":
                    answer.read(200)
                    return 200, "left"
                return streamed(answer)
            got = answer.read(4 * MOST_KEPT).decode(errors="replace")
            if answer.status != 200:
                return answer.status, got
            told = json.loads(got, parse_constant=_no_json)
            try:
                content = told["choices"][0]["message"]["content"]
            except (KeyError, TypeError, IndexError):
                content = told  # answered whole, in a shape of the function's own
            return 200, content if isinstance(content, str) else json.dumps(content)
        finally:
            connection.close()

    def get(self, path: str, timeout: float = 30) -> tuple[int, str]:
        """Returns status and body of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            return answer.status, answer.read(4 * MOST_KEPT).decode(errors="replace")
        finally:
            connection.close()


def _no_json(constant: str) -> Any:
    raise AssertionError(f"the answer contains {constant}, which is no JSON")


def _with_little_room(port: int, timeout: float) -> socket.socket:
    """Returns a connection on which little can wait to be read, so that the server soon notices that nobody does."""
    made = socket.socket()
    made.settimeout(timeout)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    made.connect(("127.0.0.1", port))
    return made


def streamed(answer: http.client.HTTPResponse) -> tuple[int, str]:
    """Returns what a stream said: 200 and its text, or 500 and the error that it ended with."""
    said: list[str] = []
    size = 0
    for raw in answer:
        size += len(raw)
        line = raw.decode(errors="replace").strip()
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        data = json.loads(line.removeprefix("data: "), parse_constant=_no_json)
        if "error" in data and "choices" not in data:
            return 500, json.dumps(data)
        for choice in data.get("choices") or ():
            content = choice.get("delta", {}).get("content")
            if isinstance(content, str) and size < MOST_KEPT:
                said.append(content)
    return 200, "".join(said)


def classify(status: int, text: str) -> tuple[str, str]:
    """Returns the outcome that an answer shows, and its words."""
    if status == 200:
        if "LEAK" in text:
            return outcomes.LEAK, text
        if text.startswith("held"):
            return outcomes.HELD, text
        return (outcomes.WORKS if text == "works" else outcomes.ANSWER), text
    try:
        error = json.loads(text)["error"]
        code, said = error.get("code"), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}", text
    if code in CODES:
        return CODES[code], said
    if code == "function_failed":
        if "MemoryError in" in said:
            return outcomes.MEMORY, said
        return (outcomes.OUTPUT if "output_mb" in said else outcomes.FAILED), said
    return f"status {status} {code}", said
