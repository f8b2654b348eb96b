"""What the sandbox leaves in the database: destinations and trips."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from pipeline_app.models import Destination, Trip, destination, trip
from pipeline_app.models.destination import Contact, Contacts

NOW = timezone.now()


def seen(*hosts: str, times: int = 1, function: str = "f", verdict: str = "reached", reason: str = "", at=NOW):
    return {Contact(function, host, 443, verdict): Contacts(times, at, reason) for host in hosts}


def test_contacts_are_added_to_those_before(db):
    Destination.objects.add(seen("a", "b", times=2))
    Destination.objects.add(seen("a", times=3, at=NOW + timedelta(hours=1)))
    Destination.objects.add(seen("a", verdict="refused", reason="private"))
    rows = {(row.host, row.verdict): row for row in Destination.objects.all()}
    assert {key: row.count for key, row in rows.items()} == {
        ("a", "reached"): 5, ("b", "reached"): 2, ("a", "refused"): 1,
    }  # fmt: skip
    assert rows["a", "reached"].last_at == NOW + timedelta(hours=1)
    assert rows["a", "refused"].reason == "private"


def test_what_a_function_chooses_to_call_does_not_fill_the_table(db, monkeypatch):
    monkeypatch.setattr(destination, "KEPT", 3)
    Destination.objects.add(seen("other", function="g"))
    for number in range(6):
        Destination.objects.add(seen(f"h{number}", at=NOW + timedelta(minutes=number)))
    assert set(Destination.objects.filter(function="f").values_list("host", flat=True)) == {"h3", "h4", "h5"}
    assert Destination.objects.filter(function="g").count() == 1


def test_a_host_of_any_length_and_text_is_stored(db):
    Destination.objects.add(seen("x" * 5000, "nul\0", "half\ud800", reason="r\0" * 500))
    assert Destination.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_processes_that_count_at_once_do_not_lose_a_contact():
    from django.db import connection

    def count() -> None:
        for _ in range(5):
            Destination.objects.add(seen("a", "b"))
        connection.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Destination.objects.values_list("host", "count")) == [("a", 20), ("b", 20)]


def test_a_trip_keeps_the_end_of_the_log_and_the_newest_rows(db, monkeypatch):
    monkeypatch.setattr(trip, "KEPT", 2)
    until = NOW + timedelta(seconds=30)
    for number in range(4):
        Trip.objects.note("f", number, until, "why\0", "x" * 30_000 + "end\ud800", "here:1")
    kept = list(Trip.objects.filter(function="f"))
    assert [row.version for row in kept] == [3, 2]
    assert len(kept[0].log) == trip.LOG_LENGTH
    assert "end" in kept[0].log[-5:]
    assert kept[0].reason == "why\ufffd"


def test_both_are_kept_as_long_as_runs(db):
    Destination.objects.add(seen("a"))
    Trip.objects.note("f", 1, NOW, "why", "", "here:1")
    assert (Destination.objects.prune(days=30), Trip.objects.prune(days=30)) == (0, 0)
    Destination.objects.update(last_at=NOW - timedelta(days=31))
    Trip.objects.update(opened_at=NOW - timedelta(days=31))
    assert (Destination.objects.prune(days=30), Trip.objects.prune(days=30)) == (1, 1)
