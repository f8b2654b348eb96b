"""What calls cost, added up: sums of a process, rows, percentiles."""

from __future__ import annotations

import random
import statistics
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from pipeline_app import usage
from pipeline_app.models import Usage
from pipeline_app.usage import Sum, Tally, percentile, stats


def step(wall: float = 10.0, *, cpu: float | None = None, memory: float | None = None, hook: str = "pipe", **more):
    return {"function": "f", "hook": hook, "wall_ms": wall, "cpu_ms": cpu, "memory_mb": memory, **more}


def test_percentiles_are_right_within_a_twentieth():
    random.seed(1)
    for spread in (0.1, 1.0, 2.5):
        walls = [random.lognormvariate(4, spread) for _ in range(5000)]
        found = Sum()
        for wall in walls:
            found.add_step(step(wall))
        exact = statistics.quantiles(walls, n=100)
        for share, place in ((0.5, 49), (0.95, 94)):
            assert percentile(found.durations, share) == pytest.approx(exact[place], rel=0.05)


@pytest.mark.parametrize("wall", [0.0, 0.0004, 1.0, 3e5])
def test_the_shortest_and_the_longest_time_have_a_place(wall):
    found = Sum()
    found.add_step(step(wall))
    assert percentile(found.durations, 0.5) == pytest.approx(max(wall, 0.001), rel=0.05)


def test_without_calls_nothing_is_known():
    assert Sum().to_wire() == {
        "calls": 0, "errors": 0, "p50_ms": None, "p95_ms": None, "wall_ms": 0, "cpu_ms": None, "memory_mb": None,
    }  # fmt: skip


def test_cpu_is_that_of_the_calls_of_which_it_is_known_and_memory_the_most():
    found = Sum()
    for each in (step(cpu=2.0, memory=30.0), step(memory=50.0), step(cpu=1.0), step(error={})):
        found.add_step(each)
    assert (found.calls, found.errors, found.cpu_ms, found.cpu_calls, found.memory_mb) == (4, 1, 3.0, 2, 50.0)


def test_two_processes_add_up_and_writing_twice_counts_once(db):
    one, two = Tally(), Tally()
    one.add([step(10), step(20, hook="inlet")]), two.add([step(30, error={})])
    for tally in (one, two, one):
        Usage.objects.put(tally.rows())
    found = stats("f", 3600)
    assert (found["calls"], found["errors"], found["wall_ms"]) == (3, 1, 60.0)
    assert {hook: each["calls"] for hook, each in found["hooks"].items()} == {"inlet": 1, "pipe": 2}
    assert stats("g", 3600)["calls"] == 0


def test_what_is_written_is_written_again_only_when_it_grew(db, monkeypatch):
    tally = Tally()
    tally.add([step()])
    rows = tally.rows()
    tally.add([step()])  # meanwhile
    Usage.objects.put(rows)
    tally.written(rows)
    rows = tally.rows()
    assert [row.calls for row in rows] == [2]
    Usage.objects.put(rows)
    tally.written(rows)
    assert tally.rows() == []
    assert Usage.objects.get().calls == 2
    later = usage.time.time() + usage.SPAN
    monkeypatch.setattr(usage.time, "time", lambda: later)
    tally.written([])
    assert tally._sums == {}


def test_a_database_that_is_gone_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(usage, "KEPT_MOST", 10)
    tally = Tally()
    for number in range(50):
        tally.add([step(hook=f"h{number}")])
    assert len(tally._sums) == len(tally.rows()) == 10


def test_totals_are_kept_as_long_as_runs(db):
    tally = Tally()
    tally.add([step()])
    Usage.objects.put(tally.rows())
    Usage.objects.update(start=timezone.now() - timedelta(days=29))
    assert Usage.objects.prune(days=30) == 0
    Usage.objects.update(start=timezone.now() - timedelta(days=31))
    assert Usage.objects.prune(days=30) == 1


def test_a_time_begins_with_a_row(db):
    found = stats("f", 1000)
    assert found["since"] % usage.SPAN == 0
    assert 1000 <= found["until"] - found["since"] < 1000 + usage.SPAN + 1
    assert datetime.fromtimestamp(found["until"], tz=UTC) <= timezone.now()


@pytest.mark.django_db(transaction=True)
def test_processes_that_write_at_once_do_not_lose_a_call():
    from django.db import connection

    def write() -> None:
        tally = Tally()
        for _ in range(5):
            tally.add([step()])
            Usage.objects.put(tally.rows())
        connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stats("f", 3600)["calls"] == 20
