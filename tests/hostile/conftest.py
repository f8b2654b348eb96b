"""One arena for the whole suite, also when several processes share the tests."""

from __future__ import annotations

import fcntl
import os
import traceback
from collections.abc import Callable, Iterator

import pytest

from tests.hostile.arena import Arena, Result
from tests.hostile.cases.case import Case
from tests.hostile.schedule import Board, Schedule


@pytest.fixture(scope="session")
def hostile_results(request, tmp_path_factory, base_packages, empty_database) -> Iterator[Callable[[Case], Result]]:
    """Gives the result of a case. The process that comes first runs all cases of the session, for the others too."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    board = Board(shared / "hostile-results")
    with (shared / "hostile-lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield board.result
            return
        wanted = [
            item.callspec.params["case"]
            for item in request.session.items
            if "hostile_results" in getattr(item, "fixturenames", ())
        ]
        try:
            arena = Arena(tmp_path_factory.mktemp("arena"), empty_database, wanted)
        except BaseException:
            board.give_up(traceback.format_exc())
            raise
        try:
            schedule = Schedule(arena, wanted, board.put)
            yield board.result
            schedule.close(unfinished=request.session.shouldstop or request.session.shouldfail)
        finally:
            board.give_up("The process that ran the cases has ended.")
            arena.close()
