"""Runs cases beside the tests, in a process of its own: ``python -m tests.hostile.background BOARD FOLDER < numbers``.

Most cases wait for something, and nobody has to wait with them: the tests look at the results when they have come. No
test shares a process with the threads that run them. The first line of the input has the numbers of the cases; when the
input ends before they do, whoever wanted them has gone, and they are dropped.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path

import django

from tests.hostile.arena import Arena
from tests.hostile.cases import BY_NUMBER
from tests.hostile.schedule import Board, Schedule
from tests.servers import migrated_database


def main(board: Board, folder: Path) -> None:
    """Runs the cases, and shows the result of each on the board as soon as it is there."""
    cases = [BY_NUMBER[int(number)] for number in sys.stdin.readline().split()]
    try:
        (folder / "template").mkdir()
        arena = Arena(folder / "arena", migrated_database(folder / "template"), cases)
        try:
            schedule = Schedule(arena, cases, board.put)
            threading.Thread(target=_drop_when_nobody_waits, args=(schedule,), daemon=True).start()
            schedule.close()
        finally:
            arena.close()
    except BaseException:
        board.give_up(traceback.format_exc())
        raise
    board.give_up("The process that ran the cases has ended.")


def _drop_when_nobody_waits(schedule: Schedule) -> None:
    os.read(0, 1)  # not through sys.stdin, which a thread must not hold when the interpreter ends
    schedule.close(unfinished=True)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    main(Board(Path(sys.argv[1])), Path(sys.argv[2]))
