"""A worker made by hand, zygote and all, in which a test's functions run: what is confined, and nothing around it.

The functions come as source (see ``attempts``), one after the other, each with the targets; what each returns or
raises comes back.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline_app.runners import bubblewrap
from pipeline_app.runners.layers import WORKER_PACKAGE, Layers, interpreter, readable, readable_in_worker

NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
SECONDS = 60

PROGRAM = """
import importlib.util, json, os, socket, sys, types

folder, number = sys.argv[1], int(sys.argv[2])
parent = sys.modules["pipeline_app"] = types.ModuleType("pipeline_app")
parent.__path__ = []
spec = importlib.util.spec_from_file_location(
    "pipeline_app.worker", folder + "/__init__.py", submodule_search_locations=[folder]
)
parent.worker = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent.worker)
from pipeline_app.worker import confine

boot = socket.socket(fileno=number)
told = json.loads(boot.recv(1 << 20))
zygote = confine.confine_zygote(told["zygote"])
child = os.fork()
if child:
    boot.detach()
    os.close(number)
    _, status = os.waitpid(child, 0)
    if os.WCOREDUMP(status):
        print("core dumped", file=sys.stderr, flush=True)
    os._exit(min(255, 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)))
report, listener = confine.confine_worker(told["worker"], {number})
message = json.dumps({"report": report, "zygote": zygote}).encode()
socket.send_fds(boot, [message], [] if listener is None else [listener])
if listener is not None:
    os.close(listener)
namespace = {"__name__": "attempts"}
exec(compile(told["source"], "attempts", "exec"), namespace)
for name in told["names"]:
    try:
        said = {"value": namespace[name](told["targets"])}
    except BaseException as error:
        said = {"error": type(error).__name__, "errno": getattr(error, "errno", None), "text": str(error)}
    boot.sendall(json.dumps({"name": name, **said}, default=repr).encode() + b"\\n")
os._exit(0)
"""


@dataclass
class Confined:
    """What happened: what each function gave or raised, the worker's own report, how it ended."""

    report: dict[str, Any] = field(default_factory=dict)
    zygote: dict[str, Any] = field(default_factory=dict)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: int | None = None
    errors: str = ""

    @property
    def signal(self) -> int | None:
        """The signal that ended the worker, None when it came to its end."""
        return self.status - 128 if self.status is not None and self.status > 128 else None

    def value(self, name: str) -> Any:
        """What a function returned; fails when it raised."""
        assert "value" in self.said[name], self.said[name]
        return self.said[name]["value"]

    def refused(self, name: str) -> int:
        """The number of the error that a function met; fails when it met none."""
        assert "error" in self.said[name], f"{name} worked: {self.said[name]}"
        assert self.said[name]["errno"] is not None, self.said[name]
        return int(self.said[name]["errno"])


def _as_seen_by_others(prefix: list[str]) -> list[str]:
    """Leaves out what is mounted from an interpreter that only the tests' own user may read."""
    words = list(prefix)
    for index in reversed(range(len(words))):
        if words[index].startswith(sys.base_prefix) and words[index - 1].startswith("--"):
            take = 3 if words[index - 1].endswith("bind") else 2
            del words[index - 1 : index - 1 + take]
    return words


@contextmanager
def started(
    names: list[str],
    source: str,
    targets: dict[str, Any] | None = None,
    *,
    layers: Layers | None = None,
    network: str = "none",
    user: int | None = None,
    packages: tuple[str, ...] = (),
    limits: dict[str, int] | None = None,
) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Starts a worker that may read ``packages``; gives the socket on which it talks, and its zygote's process."""
    layers = layers or Layers(bubblewrap=False)
    with tempfile.TemporaryDirectory(prefix="confined-") as root:
        scratch = Path(root) / "w1"
        scratch.mkdir(0o700)
        (Path(root) / "w2").mkdir()
        python = interpreter()
        if user is not None:
            python = SYSTEM_PYTHON
            for path in (root, scratch):
                os.chown(path, user, user)
        prefix = bubblewrap.prefix([*readable(packages), python], [root]) if layers.bubblewrap else []
        if user is not None:
            prefix = _as_seen_by_others(prefix)
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        command = [*prefix, python, "-I", "-S", "-c", PROGRAM, str(WORKER_PACKAGE), str(there.fileno())]
        who: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        process = subprocess.Popen(
            command, pass_fds=[there.fileno()], env={}, cwd="/", stderr=subprocess.PIPE, start_new_session=True, **who
        )
        there.close()
        here.settimeout(SECONDS)
        switches = {
            "landlock": layers.landlock,
            "seccomp": layers.seccomp,
            "capabilities": layers.capabilities,
            "landlock_version": layers.landlock_version,
        }
        worker = {
            **switches,
            "scratch": str(scratch),
            "readable": readable_in_worker(packages),
            "network": network,
            "limits": {"memory_mb": 256, "disk_mb": 16, "threads": 64, "files": 128, **(limits or {})},
            "environment": {"GREETING": "hello"},
        }
        told = {
            "zygote": {**switches, "readable": readable(packages), "writable": [root]},
            "worker": worker,
            "source": source,
            "names": names,
            "targets": {"root": root, **(targets or {})},
        }
        try:
            here.sendall(json.dumps(told).encode())
            yield here, process
        finally:
            here.close()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def run(names: list[str], source: str, targets: dict[str, Any] | None = None, **given: Any) -> Confined:
    """Runs functions in a confined worker, and returns what came of it."""
    with started(names, source, targets, **given) as (boot, process):
        outcome = Confined()
        first, descriptors, _, _ = socket.recv_fds(boot, 1 << 16, 1)
        for descriptor in descriptors:
            os.close(descriptor)
        data = bytearray(first)
        while more := boot.recv(1 << 16):
            data += more
        assert process.stderr is not None
        outcome.errors = process.stderr.read().decode()
        outcome.status = process.wait(SECONDS)
    decoder, text = json.JSONDecoder(), data.decode()
    if text:
        head, end = decoder.raw_decode(text)
        outcome.report, outcome.zygote = head["report"], head["zygote"]
        for line in text[end:].splitlines():
            if line:
                said = json.loads(line)
                outcome.said[said.pop("name")] = said
    return outcome


@functools.cache
def why_no_nobody() -> str | None:
    """Returns why tests cannot run as an ordinary user."""
    if os.geteuid() != 0:
        return "the tests run as an ordinary user anyway"
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        return f"there is no {SYSTEM_PYTHON} that another user may start"
    command = [
        SYSTEM_PYTHON,
        "-c",
        f"import sys; open({str(WORKER_PACKAGE / '__init__.py')!r}); print(sys.version_info >= (3, 11))",
    ]
    found = subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True)
    return None if found.stdout == "True\n" else "another user can read no interpreter of 3.11, or not this checkout"


linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are of Linux")
