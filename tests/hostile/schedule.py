"""Which cases are run when: those that wait for a limit several at a time, the others one after the other beside them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.hostile.arena import Arena, Result
from tests.hostile.cases.case import Case

AT_A_TIME = 5


class Schedule:
    """Runs cases in the background, from now on; ``on_end`` gets each one's future in some thread.

    What is noticed outside (a contact, a changed file) is told of a case that ran then, not surely of the one that
    did it. A neighbour that was kept waiting is counted for all that ran meanwhile.
    """

    def __init__(
        self,
        arena: Arena,
        cases: Iterable[Case],
        on_end: Callable[[Case, Future[Result]], None] = lambda case, future: None,
    ) -> None:
        self._quick = ThreadPoolExecutor(1, thread_name_prefix="quick cases")
        self._slow = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="slow cases")
        self._futures: dict[int, Future[Result]] = {}
        known = {case.number for case in arena.cases}
        for case in sorted(cases, key=lambda case: -case.seconds):
            if case.number in known:
                future = (self._slow if case.seconds else self._quick).submit(arena.run, case)
                self._futures[case.number] = future
                future.add_done_callback(lambda done, case=case: on_end(case, done))  # type: ignore[misc]

    def result(self, case: Case) -> Result:
        """Returns what came of a case, once it has been run."""
        return self._futures[case.number].result()

    def close(self, unfinished: bool = False) -> None:
        """Waits for what is still to be run; drops it when ``unfinished``."""
        for pool in (self._quick, self._slow):
            pool.shutdown(cancel_futures=unfinished)


class Board:
    """Results for the processes of one test session: one of them runs the cases, all read what came of them."""

    PATIENCE = 400.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(exist_ok=True)

    def put(self, case: Case, future: Future[Result]) -> None:
        """Shows the result of a case, or why there is none."""
        trouble = future.exception()
        if trouble is not None:
            told: dict[str, Any] = {"trouble": f"{type(trouble).__name__}: {trouble}"}
        else:
            one = future.result()
            told = {"result": [one.outcome, one.detail, one.outside, one.seconds, one.neighbour]}
        self._write(str(case.number), json.dumps(told))

    def give_up(self, why: str) -> None:
        """Says that no more results will come."""
        self._write("trouble", why)

    def _write(self, name: str, text: str) -> None:
        aside = self._folder / f".{name}"
        aside.write_text(text)
        os.replace(aside, self._folder / name)

    def result(self, case: Case) -> Result:
        """Returns what came of a case, once it has been run. Raises ``AssertionError`` when it was not."""
        deadline = time.monotonic() + self.PATIENCE
        while time.monotonic() < deadline:
            for name in (str(case.number), "trouble"):
                if (self._folder / name).exists():
                    text = (self._folder / name).read_text()
                    told = json.loads(text) if name != "trouble" else {"trouble": text}
                    if "trouble" in told:
                        raise AssertionError(told["trouble"])
                    return Result(case, *told["result"])
            time.sleep(0.02)
        raise AssertionError(f"Nobody has run case {case.number}.")
