"""One arena for the whole suite, also when several processes share the tests."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.hostile.arena import Result
from tests.hostile.cases.case import Case
from tests.hostile.schedule import Board
from tests.settings import CHECKOUT

SHARED = Path(os.environ["WEBUI_FUNCTIONS_TESTS_FOLDER"])
"""The folder that the processes of the suite share."""
RESULTS = SHARED / "hostile-results"


class Beside:
    """The process that runs the cases, in the one process of the suite that was first to want it."""

    def __init__(self, lock: IO[str], numbers: list[int]) -> None:
        self._lock = lock  # held as long as this process goes on
        folder = SHARED / "hostile-arena"
        folder.mkdir()
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.background", str(RESULTS), str(folder)],
                cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, numbers)) + "\n")
        self._process.stdin.flush()

    def finish(self, unfinished: bool) -> None:
        """Waits until all cases have been run, for the tests of other processes too; drops the rest if ``unfinished``."""
        assert self._process.stdin is not None
        if not unfinished:
            self._process.wait(Board.PATIENCE)
        self._process.stdin.close()
        code = self._process.wait()
        self._lock.close()
        assert code == 0 or unfinished, self._log.read_text()


BESIDE = pytest.StashKey[Beside]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts the cases before the first test: they go on beside the others."""
    wanted = [item for item in session.items if "hostile_results" in getattr(item, "fixturenames", ())]
    if not wanted or session.config.option.collectonly:
        return
    lock = (SHARED / "hostile-lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return
    numbers = [item.callspec.params["case"].number for item in wanted]
    session.config.stash[BESIDE] = Beside(lock, numbers)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if beside := session.config.stash.get(BESIDE, None):
        stopped = exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        beside.finish(unfinished=bool(stopped or session.shouldstop or session.shouldfail))


@pytest.fixture(scope="session")
def hostile_results() -> Callable[[Case], Result]:
    """Gives the result of a case, which is run beside the tests, once for all processes of the suite."""
    return Board(RESULTS).result
