"""One installation under load: functions stored beside its server, and clients that call it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.servers import Server, environment_of
from tests.settings import CHECKOUT

STORE = """
import json
from functions_app.models import Function, User, UserValves, Valves
from pipeline_app.models import ApiKey
given = json.loads({given!r})
users = {{name: User.objects.get_or_create(username=name, defaults={{"email": name + "@example.org"}})[0] for name in given["users"]}}
for function_id, source in given["functions"].items():
    function = Function.objects.create_function(function_id, function_id, source)
    assert function.live, function.newest.error
    function.is_active, function.is_global = True, function_id in given["globals"]
    function.save()
    function.change_policy({{"allow": given["allow"]}})
    if function_id in given["valves"]:
        Valves.objects.set_values(function, given["valves"][function_id])
for name, function_id, values in given["user_valves"]:
    UserValves.objects.set_values(Function.objects.get(pk=function_id), User.objects.get(username=name), values)
print("keys:", json.dumps({{name: ApiKey.objects.issue(user)[1] for name, user in users.items()}}))
"""


class Scene:
    """A server and the people who use it; ``keys`` has one for each."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.keys: dict[str, str] = {}

    def store(
        self,
        functions: dict[str, str] | None = None,
        *,
        globals: tuple[str, ...] = (),
        valves: dict[str, Any] | None = None,
        allow: tuple[str, ...] = (),
        users: list[str] | None = None,
        user_valves: list[tuple[str, str, dict[str, Any]]] | None = None,
    ) -> None:
        """Stores functions, active from then on and with access to what ``allow`` names, and people with keys.

        Alice is there from the first time.
        """
        new = [name for name in dict.fromkeys(("alice", *(users or []))) if name not in self.keys]
        given = {
            "functions": functions or {},
            "globals": globals,
            "valves": valves or {},
            "allow": allow,
            "users": new,
            "user_valves": user_valves or [],
        }
        said = self.server.shell(STORE.format(given=json.dumps(given)))
        self.keys |= json.loads(said.rpartition("keys: ")[2])

    def body(self, model: str, text: str, **more: Any) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": text}], **more}

    def client(self, user: str = "alice", server: Server | None = None, connections: int = 250) -> httpx.AsyncClient:
        """Returns a client that calls a server (another process of the installation, maybe) with a user's key."""
        return httpx.AsyncClient(
            base_url=(server or self.server).url,
            headers={"Authorization": f"Bearer {self.keys[user]}"},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=60,
        )

    async def ask(self, client: httpx.AsyncClient, model: str, text: str = "hello", **more: Any) -> str:
        """Returns the text of a plain answer; fails with the server's words when there is none."""
        answer = await client.post("/v1/chat/completions", json=self.body(model, text, **more))
        assert answer.status_code == 200, answer.text
        content: str = answer.json()["choices"][0]["message"]["content"]
        return content

    @contextmanager
    def connection(self, model: str, text: str, **more: Any) -> Iterator[socket.socket]:
        """Sends a request over a bare connection and leaves the answer unread: closing it is to go away."""
        body = json.dumps(self.body(model, text, **more)).encode()
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as connection:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            head += f"Content-Type: application/json\r\nAuthorization: Bearer {self.keys['alice']}\r\n\r\n"
            connection.sendall(head.encode() + body)
            yield connection

    @contextmanager
    def command(self, code: str) -> Iterator[Command]:
        """Runs a management command beside the server that goes through ``code`` for every line it is given."""
        command = Command(self.server, code)
        try:
            yield command
        finally:
            command.close()


class Command:
    """A long-running ``manage.py shell``. ``code`` sees the line as ``line``; it answers a line or fails."""

    LOOP = "import sys\n{before}\nfor line in sys.stdin:\n    line = line.strip()\n    {code}\n    print('=', answer, flush=True)\n"

    def __init__(self, server: Server, code: str) -> None:
        before, _, each = code.partition("---\n")
        script = self.LOOP.format(before=before, code=each.strip().replace("\n", "\n    "))
        self._log = (server.data_dir / "command.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--command", script],
            cwd=CHECKOUT,
            env=environment_of(server.data_dir, **server.extra),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def do(self, line: str) -> str:
        """Gives the command a line and returns its answer once it has done what it does."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        while answer := self._process.stdout.readline():
            if answer.startswith("= "):
                return answer[2:].strip()
        self._log.seek(0)
        raise AssertionError(f"the command ended:\n{self._log.read()}")

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._log.close()


def memory_mb(pid: int) -> float:
    """Returns the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1048576
