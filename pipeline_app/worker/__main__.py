"""The zygote: a small process, confined before any third-party code runs in it, that forks the workers of functions.

It has one thread and no loop, and holds no secret. The server talks to it over a socket of JSON packets:

    server: {"start": {"site": [dirs], "preload": [modules], "confine": ZygoteConfig, "root": path}}      first
            {"fork": wid, "config": WorkerConfig} with the descriptors main, sync, boot and log
            {"kill": wid}   {"end": true}
    zygote: {"up": {"pid", "report", "failed": {module: why}, "missed": [modules], "threads": n}},
            or {"threads": module} and its end
            {"forked": wid, "pid": n}   {"exited": wid, "status": waitstatus, "maxrss_kb": n, "cpu": seconds}

When it is told to, or the server's end closes, it kills its workers and ends.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import io
import json
import logging
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

from . import confine, filling, kernel, lifeline, mappings, names, serving
from .hosts import SyncLine

PACKET = 256 * 1024
DESCRIPTORS = 4
STACK = 1024 * 1024
"""Bytes of stack of a worker's threads: the usual 8 MiB count against its memory limit."""
FAILED = 71
"""The exit status of a worker that could not be made ready."""

WARM = """
from typing import Any, Dict, List, Literal, Optional
from pydantic import BaseModel, Field, field_validator

class Valves(BaseModel):
    priority: int = Field(default=0, ge=0, description="A number")
    text: str = Field(default="", json_schema_extra={"input": {"type": "password"}})
    choice: Literal["a", "b"] = "a"
    names: Optional[List[str]] = None
    more: Dict[str, Any] = {}
    share: float = 0.5
    on: bool = True

    @field_validator("text")
    @classmethod
    def check(cls, value):
        return value

Valves.model_json_schema()
Valves(**{"text": "1"}).model_dump(mode="json")
"""
"""Classes as functions have them. Making the first one takes 200 ms, which no worker has to pay again."""


def main(fd: int) -> NoReturn:
    """Runs a zygote on its end of the control socket."""
    control = socket.socket(fileno=fd)
    start = json.loads(control.recv(PACKET))["start"]
    zygote = Zygote(control, start["root"])
    report = confine.confine_zygote(start["confine"])
    sys.path += start["site"]
    zygote.preload(start["preload"], report)
    zygote.run()


def spawned(main: int, sync: int, boot: int, log: int) -> NoReturn:
    """Runs one worker in a process of its own, where there is no zygote. What to be comes over ``boot``."""
    with socket.socket(fileno=os.dup(boot)) as server:
        config = json.loads(server.recv(PACKET))
    sys.path += config["base"]
    become_worker(config, main, sync, boot, log)


class Zygote:
    """Forks workers and tells how they end."""

    def __init__(self, control: socket.socket, root: str) -> None:
        self._control = control
        self._root = root
        self._workers: dict[int, int] = {}  # pid to wid
        try:
            self._tasks: int | None = os.open("/proc/self/task", os.O_RDONLY | os.O_DIRECTORY)  # not to be had later
        except OSError:  # no /proc here: the server looks from outside
            self._tasks = None

    def preload(self, modules: list[str], report: dict[str, Any]) -> None:
        """Imports what workers then have for nothing. A module that starts a thread is told, and ends the zygote."""
        failed, missed = {}, Missed()
        sys.meta_path.append(missed)
        for module in modules:
            try:
                importlib.import_module(module)
                if module == "pydantic":
                    exec(compile(WARM, "<warm>", "exec", dont_inherit=True), {"__name__": "warm"})
            except Exception as error:
                failed[module] = f"{type(error).__name__}: {error}"
            if self._threads() > 1:
                self._tell({"threads": module})
                os._exit(FAILED)
        sys.meta_path.remove(missed)
        confine.prepare()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.collect()
        self._filling = filling.fill(self._root)
        # What is here by now stays: a collection in a worker would otherwise touch, and so copy, all of it.
        gc.freeze()
        gc.disable()
        told = {"pid": os.getpid(), "report": report, "failed": failed, "missed": sorted(missed.names)}
        self._tell({"up": {**told, "threads": self._threads()}})

    def _threads(self) -> int:
        return threading.active_count() if self._tasks is None else len(os.listdir(self._tasks))

    def run(self) -> NoReturn:
        """Serves until the server's end of the socket closes."""
        ended, told = os.pipe()
        os.set_blocking(ended, False)
        os.set_blocking(told, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._control.fileno(), ended], [], [])
            if ended in ready:
                os.read(ended, 4096)
                self._reap()
            if self._control.fileno() in ready:
                self._obey()

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            self._end()

    def _obey(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, PACKET, DESCRIPTORS)
        except OSError:
            data = b""
        if not data:
            self._end()
        message = json.loads(data)
        if "end" in message:
            self._end()
        if "fork" in message:
            self._fork(message["fork"], message["config"], fds)
        elif "kill" in message:
            for pid, wid in self._workers.items():
                if wid == message["kill"]:
                    os.kill(pid, signal.SIGKILL)

    def _fork(self, wid: int, config: dict[str, Any], fds: list[int]) -> None:
        told: dict[str, Any] = {"forked": wid, "pid": None}
        if len(fds) == DESCRIPTORS:
            try:
                pid = os.fork()
                if pid == 0:
                    become_worker(config, *fds, life=os.path.join(self._root, lifeline.NAME))
                self._workers[pid] = wid
                told["pid"] = pid
            except OSError as error:  # no more processes, no more memory
                told["why"] = str(error)
        else:
            told["why"] = "its descriptors did not arrive"
        for fd in fds:
            os.close(fd)
        self._tell(told)

    def _reap(self) -> None:
        while self._workers:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            wid = self._workers.pop(pid)
            cpu = usage.ru_utime + usage.ru_stime
            self._tell({"exited": wid, "status": status, "maxrss_kb": usage.ru_maxrss, "cpu": cpu})

    def _end(self) -> NoReturn:
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        os._exit(0)


class Missed:
    """Comes last where modules are looked for, and so learns the top-level names of those that are not there.

    What is loaded by now does without them, also in a worker whose function brings them.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Finds nothing."""
        if path is None:
            self.names.add(name)


def become_worker(config: dict[str, Any], *fds: int, life: str = "") -> NoReturn:
    """Turns this process into a worker: confines it, tells the server, and serves. Never returns, whatever happens."""
    try:
        main, sync, boot, log = fds
        _name(f"fn {config['function']}")
        held = lifeline.take(life) if life else None
        keep = {main, sync, boot} | ({held} if held is not None else set())
        report, notifications = confine.confine_worker(config, keep, log)
        faulthandler.enable(2)  # a crash in native code leaves its Python lines in the log
        _prepare_interpreter(config)
        line = SyncLine(sync)
        if config["network"] != "unbrokered":
            names.install(line if config["network"] == "brokered" else None)
        _tell_boot(boot, report, notifications)
        if held is None:
            line.start()
        serving.serve(main, line, config["site"])
    except BaseException:
        traceback.print_exc()
    os._exit(FAILED)


def _name(name: str) -> None:
    """Names the process in lists of processes, as far as there is room."""
    if sys.platform == "linux":
        text = ctypes.create_string_buffer(name.encode("ascii", "replace")[:15])
        kernel.prctl(kernel.PR_SET_NAME, ctypes.addressof(text))


def _prepare_interpreter(config: dict[str, Any]) -> None:
    """Gives this process what must not be shared with its siblings, and what a function finds about it."""
    gc.enable()
    threading.stack_size(STACK)
    mappings.install()
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    logging.root.setLevel(logging.INFO)


def _tell_boot(boot: int, report: dict[str, Any], notifications: int | None) -> None:
    with socket.socket(fileno=boot) as server:
        told = json.dumps({"report": report}).encode()
        socket.send_fds(server, [told], [] if notifications is None else [notifications])
    if notifications is not None:
        os.close(notifications)
