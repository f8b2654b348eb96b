"""One real server with a victim around it and every case stored as a function; runs cases and judges them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.hostile.answers import Client, classify
from tests.hostile.cases import case as outcomes
from tests.hostile.cases.case import Case
from tests.hostile.neighbour import SOURCE as BYSTANDER
from tests.hostile.neighbour import Neighbour
from tests.hostile.victim import Victim, message
from tests.servers import Server

LIMITS = {
    "time_limit": {
        "pipe": 6, "first_chunk": 6, "load": 10, "inlet": 2, "outlet": 2, "stream": 1, "pipes": 3, "action": 3,
    },
    "memory_mb": 160,
    "disk_mb": 32,
    "output_mb": 1,
    "threads": 64,
    "cpu_limit": 20,
    "network": "public",
}  # fmt: skip
SIBLING = """
import os
from pydantic import BaseModel


class Pipe:
    class Valves(BaseModel):
        sibling_password: str = ""

    def __init__(self):
        self.valves = self.Valves()

    def pipe(self, body):
        with open("sibling.txt", "w") as file:
            file.write(self.valves.sibling_password)
        self.kept = self.valves.sibling_password
        return f"{os.getpid()} {os.getcwd()}"
"""
STORE = """
import json
from functions_app.models import Function, User, Valves
from pipeline_app.models import ApiKey
given = json.loads(open({path!r}).read())
for name in ("alice", "mallory"):
    User.objects.get_or_create(username=name, defaults={{"email": name + "@example.org"}})
found = {{}}
for function_id, one in given.items():
    try:
        function = Function.objects.create_function(function_id, function_id, one["source"], publish=False)
        function.change_policy(one["policy"])
        function.versions.get().publish()
        function.refresh_from_db()
        if function.live:
            function.is_active = True
            function.is_global = one["global"]
            function.save()
        if one["valves"]:
            Valves.objects.set_values(function, one["valves"])
        found[function_id] = None if function.live else function.newest.error["message"][:2000]
    except Exception as error:
        found[function_id] = f"THE SERVER FAILED: {{error!r:.1000}}"
print("stored " + json.dumps(found))
print("alice is " + str(User.objects.get(username="alice").pk))
print("key is " + ApiKey.objects.issue(User.objects.get(username="mallory"))[1])
"""
AT_ONCE = 8.0
"""Seconds within which a second function and the health page answer, whatever goes on. Machines of tests are slow
and shared; what is looked for is a server that hangs."""
FORGED_LINE = re.compile(r"^(?!    [|!] ).{0,3}FORGED|[\x00-\x08\x0b-\x1f\x7f-\x9f]", re.M)
"""What function authors must not get into the server's log: lines of their own, and commands to a terminal."""
OWN_FAILURE = re.compile(r"^    ! Traceback \(most recent call last\)(\n    ! .*)*|^Traceback (.*\n)+?\w.*$", re.M)
"""How the server's log shows an exception that nobody in the server has expected: logged, or past all logging."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What came of a case: its outcome, the words that show it, and what was noticed outside."""

    case: Case
    outcome: str
    detail: str
    outside: list[str]
    seconds: float
    neighbour: float
    """The longest that a second function or the health page took meanwhile and right after."""

    @property
    def right(self) -> bool:
        said = all(mark in self.detail for mark in self.case.marks)
        return self.outcome in self.case.expect and said and not self.outside and self.neighbour < AT_ONCE

    def __str__(self) -> str:
        wanted = " or ".join(self.case.expect)
        parts = [f"case {self.case.number} ({self.case.name}): {self.outcome}, must be {wanted}: {self.detail[:600]}"]
        parts += [f"outside: {noticed}" for noticed in self.outside]
        if self.neighbour >= AT_ONCE:
            parts.append(f"a neighbour waited {self.neighbour:.1f} s")
        return "\n".join(parts)


class Arena:
    """``layers_off`` leaves layers of the sandbox out; cases that would do harm then are left out too."""

    def __init__(
        self, folder: Path, empty_database: Path, cases: Iterable[Case], *, layers_off: Iterable[str] = ()
    ) -> None:
        self.layers_off = tuple(layers_off)
        self.cases = [case for case in cases if case.needs not in self.layers_off]
        folder.mkdir(exist_ok=True)
        self.victim = Victim(folder / "victim")
        allow = [f"127.0.0.1:{self.victim.allowed}", f"localhost:{self.victim.allowed}"]
        settings = {
            "FUNCTIONS_RUNNER": "process",
            "FUNCTIONS_SANDBOX_LAYERS": ",".join(self.layers_off),
            "FUNCTIONS_MIN_ISOLATION": "process",
            "FUNCTIONS_POLICY": json.dumps({"defaults": {**LIMITS, "allow": allow}}),
            "VICTIM_SECRET": self.victim.environment_secret,
            "LOG_LEVEL": "INFO",
        }
        self.server = Server(folder / "server", empty_database, environment=settings)
        self._neighbour: Neighbour | None = None
        self._log_read = 0
        try:
            self._open(folder)
        except BaseException:
            self.close()
            raise

    def _open(self, folder: Path) -> None:
        stored = {
            "bystander": {"source": BYSTANDER, "policy": {}, "valves": {}, "global": False},
            "sibling": {
                "source": SIBLING,
                "policy": {},
                "valves": {"sibling_password": self.victim.valve_secret},
                "global": False,
            },
        }
        for case in self.cases:
            is_filter = case.runs.startswith("filter")
            stored[case.function_id] = {"source": case.source, "policy": case.policy, "valves": {}, "global": is_filter}
        path = folder / "functions.json"
        path.write_text(json.dumps(stored))
        printed = self.server.shell(STORE.format(path=str(path)))
        errors = re.search(r"^stored (.*)$", printed, re.M)
        user = re.search(r"^alice is (.*)$", printed, re.M)
        key = re.search(r"^key is (.*)$", printed, re.M)
        assert errors and user and key, printed
        self.load_errors: dict[str, str | None] = json.loads(errors[1])
        for honest in ("bystander", "sibling"):
            assert self.load_errors[honest] is None, self.load_errors[honest]
        self.server.start()
        self.client = Client(self.server.port, key[1])
        answered = self.client.ask("bystander", "now")
        assert answered == (200, "here now"), f"{answered}\n{self.server.log}"
        status, told = self.client.ask("sibling", "hello")
        assert status == 200, told
        pid, scratch = told.split(" ", 1)
        self.sibling_pid, self.scratch_root = int(pid), Path(scratch).parent
        self.told = self.victim.told(
            host=self.server.pid,
            host_group=os.getpgid(self.server.pid),
            host_address=first_address(self.server.pid),
            server_port=self.server.port,
            data=str(self.server.data_dir),
            sibling_pid=int(pid),
            sibling_scratch=scratch,
            sibling_file=scratch + "/sibling.txt",
            user_id=user[1],
            layers_off=self.layers_off,
        )
        self._server_before = self._server_state()
        self._neighbour = Neighbour(self.client)

    @property
    def message(self) -> str:
        """What attacks are told, as the text of a chat message."""
        return message(self.told)

    def neighbour_rests(self) -> None:
        """Ends the questions that are asked all the time."""
        if self._neighbour is not None:
            self._neighbour.stop()
            self._neighbour = None

    def close(self) -> None:
        """Stops everything."""
        self.neighbour_rests()
        try:
            self.server.stop()
        finally:
            self.victim.close()

    def isolation(self) -> str:
        """Returns the level that the server says it has attested."""
        told = json.loads(self.client.get("/readyz")[1])
        return str(told.get("isolation") or told.get("checks", {}).get("isolation"))

    # One case

    def run(self, case: Case) -> Result:
        """Runs one case and waits for its end; then looks around."""
        assert self._neighbour is not None
        since = self._neighbour.mark()
        began = time.monotonic()
        outcome, detail = self._attack(case)
        seconds = time.monotonic() - began
        worst = self._neighbour.worst(since)
        outside = [f"reached: {name}" for name in self.victim.contacts()] + self.victim.changes()
        outside += self._server_changes() + self._log_changes()
        outside += [f"told: {name}" for name in self.victim.leaked(detail)]
        return Result(case, outcome, detail, outside, seconds, worst)

    def _attack(self, case: Case) -> tuple[str, str]:
        why = self.load_errors[case.function_id]
        if why is not None:
            failed = why.startswith("THE SERVER FAILED")
            return ("the server failed" if failed else outcomes.REFUSED), why
        text = self.message
        match case.runs:
            case "filter" | "filter stream":
                how = "stream" if case.runs.endswith("stream") else "chat"
                answered = self.client.ask("bystander", "still", how=how, filter_ids=[case.function_id])
            case "models":
                answered = self.client.get("/v1/models")
                if answered[0] == 200:
                    listed = [model["id"] for model in json.loads(answered[1])["data"]]
                    assert listed.count("bystander") == 1 and "sibling" in listed, "models are missing from the list"
                    answered = 200, f"{len(listed)} models"
            case "publish":
                answered = self.client.ask(case.function_id, text)
            case how:
                answered = self.client.ask(case.function_id, text, how=how)
        return classify(*answered)

    # The server

    def _server_state(self) -> dict[str, Any]:
        pid = self.server.pid
        return {
            "limits": Path(f"/proc/{pid}/limits").read_text(),
            "processors": sorted(os.sched_getaffinity(pid)),
            "priority": os.getpriority(os.PRIO_PROCESS, pid),
            "host name": socket.gethostname(),
        }

    def _server_changes(self) -> list[str]:
        assert self.server.process is not None
        if self.server.process.poll() is not None:
            raise AssertionError(f"the server has ended:\n{self.server.log[-3000:]}")
        now = self._server_state()
        found = [f"the server's {name} changed" for name, value in now.items() if value != self._server_before[name]]
        if found:
            os.sched_setaffinity(self.server.pid, self._server_before["processors"])
            if os.geteuid() == 0:
                os.setpriority(os.PRIO_PROCESS, self.server.pid, self._server_before["priority"])
            self._server_before = self._server_state()
        return found

    def _log_changes(self) -> list[str]:
        log = self.server.log
        new, self._log_read = log[self._log_read :], len(log)
        found = [f"the log has a line of the author's: {forged[0]!r}" for forged in FORGED_LINE.finditer(new)]
        return found + [f"the server failed: {failure[0][-1500:]}" for failure in OWN_FAILURE.finditer(new)]


def first_address(pid: int) -> int:
    """Returns where a process's memory begins, as an attacker could have learnt elsewhere."""
    return int(Path(f"/proc/{pid}/maps").read_text().split("-", 1)[0], 16)
