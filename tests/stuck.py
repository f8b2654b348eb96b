"""Tells where a test hangs: what its threads and asyncio tasks wait for, and what the processes that it started do.

pytest ends a process in which a test takes longer than ``faulthandler_timeout``, with the stacks of its threads. They do
not show what an event loop waits for, and in a worker of pytest-xdist they come somewhere among the dots, far above the
end. So a moment earlier this says more, and workers write both into files, which are shown below the failures.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import pytest

SHARE = 0.9
"""The part of a test's time after which it is told of: a thread that can still do that comes before pytest's end."""
TELLING_SECONDS = 60.0
"""How long telling may take before the process ends all the same."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watch(config), "stuck")


class Watch:
    """Watches the tests of this process; in the process that starts the workers it shows what they have written."""

    def __init__(self, config: pytest.Config) -> None:
        self.seconds = float(config.getini("faulthandler_timeout") or 0)
        self.exits: bool = config.getini("faulthandler_exit_on_timeout")
        self.worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self.folder = Path(os.environ["WEBUI_FUNCTIONS_TESTS_FOLDER"])
        self.under_way: dict[str, None] = {}
        # At this moment nothing is captured: what is written here is seen.
        self.out: TextIO = self._file(self.worker).open("w") if self.worker else os.fdopen(os.dup(2), "w")
        if self.worker:
            faulthandler.enable(self.out)

    def _file(self, worker: str) -> Path:
        return self.folder / f"stuck-{worker}.txt"

    def pytest_unconfigure(self) -> None:
        if self.worker:
            faulthandler.disable()
        self.out.close()

    # --- In the process that runs a test ---

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        if not self.seconds:
            return (yield)
        ended = threading.Event()
        timer = threading.Timer(self.seconds * SHARE, self._tell, (item.nodeid, ended))
        timer.daemon = True
        timer.start()
        try:
            return (yield)
        finally:
            ended.set()
            timer.cancel()
            timer.join()
            faulthandler.cancel_dump_traceback_later()

    def _tell(self, nodeid: str, ended: threading.Event) -> None:
        faulthandler.dump_traceback_later(TELLING_SECONDS, exit=self.exits, file=self.out)
        self.out.write(f"{nodeid} has been going on for {self.seconds * SHARE:.0f} seconds.\n\n")
        for part in (threads(), tasks(), processes()):
            for line in part:
                self.out.write(f"{line}\n")
            self.out.flush()
        if not ended.is_set():
            faulthandler.dump_traceback_later(self.seconds * (1 - SHARE), exit=self.exits, file=self.out)

    # --- Where the results are shown ---

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.under_way[nodeid] = None
        if self.worker and self.seconds:  # pytest has just said the same, to the standard error output
            faulthandler.dump_traceback_later(self.seconds, exit=self.exits, file=self.out)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.under_way.pop(nodeid, None)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for path in sorted(self.folder.glob("stuck-*.txt")):
            if told := path.read_text(errors="replace"):
                terminalreporter.section(f"stuck or crashed: {path.stem.removeprefix('stuck-')}")
                terminalreporter.write_line(told)
        if self.under_way:
            terminalreporter.section("under way at the end")
            for nodeid in self.under_way:
                terminalreporter.write_line(nodeid)


def threads() -> Iterator[str]:
    """Says where every thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            yield f"Thread {names.get(ident, ident)}, its latest call last:"
            yield "".join(traceback.format_stack(frame))


def tasks() -> Iterator[str]:
    """Says what every task of every running event loop waits for."""
    # The type is asked, not isinstance(): that would wake lazy objects.
    loops = [one for one in gc.get_objects() if issubclass(type(one), asyncio.AbstractEventLoop)]
    for loop in loops:
        if loop.is_running():
            for task in asyncio.all_tasks(loop):
                yield f"Task {task.get_name()}, its latest call last:"
                yield "".join(traceback.format_list(traceback.StackSummary.extract(_awaited(task.get_coro()))))


def _awaited(coroutine: Any) -> Iterator[tuple[FrameType, int]]:
    """Walks from a coroutine to what it waits for; a task itself only shows the first."""
    while coroutine is not None:
        for kind, waits in (("cr", "cr_await"), ("ag", "ag_await"), ("gi", "gi_yieldfrom")):
            if frame := getattr(coroutine, f"{kind}_frame", None):
                yield frame, frame.f_lineno
                coroutine = getattr(coroutine, waits)
                break
        else:
            return


def processes() -> Iterator[str]:
    """Says of every process below this one whether it runs or sleeps, in which call of the kernel, and what it is."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    for pid in sorted(below - {os.getpid()}):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            place = Path(f"/proc/{pid}/wchan").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        yield f"Process {pid}, {state} in {place}: {' '.join(command.split())[:300]}"
