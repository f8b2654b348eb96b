from __future__ import annotations

import logging

import pytest
from django.db import DatabaseError

from pipeline_app.models import Destination
from pipeline_app.runners import destinations
from pipeline_app.runners.destinations import OTHERS, TOLD_APART, Destinations


def rows(function_id: str = "f") -> list[tuple]:
    wanted = ("host", "port", "verdict", "reason", "count")
    return sorted(Destination.objects.filter(function=function_id).values_list(*wanted))


@pytest.mark.django_db
def test_counts_add_up_over_writes():
    counted = Destinations()
    for _ in range(3):
        counted.reached("f", "api.example.com", 443)
    counted.refused("f", "127.0.0.1", 5432, "a loopback address")
    assert counted.write() == 2
    counted.reached("f", "api.example.com", 443)
    assert counted.write() == 1
    assert counted.write() == 0
    assert rows() == [
        ("127.0.0.1", 5432, "refused", "a loopback address", 1),
        ("api.example.com", 443, "reached", "", 4),
    ]


@pytest.mark.django_db
def test_too_many_hosts_are_counted_together():
    counted = Destinations()
    for number in range(TOLD_APART + 50):
        counted.refused("f", f"n{number}.example.com", 443, "not on the allow list of its policy")
    counted.refused("g", "example.com", 443, "not on the allow list of its policy")
    counted.write()
    assert len(rows()) == TOLD_APART + 1
    assert (OTHERS, 0, "refused", "", 50) in rows()
    assert len(rows("g")) == 1


@pytest.mark.django_db
def test_what_can_not_be_written_is_kept(monkeypatch):
    counted = Destinations()
    counted.reached("f", "example.com", 443)
    with monkeypatch.context() as broken:

        def fail(seen: object) -> None:
            raise DatabaseError("gone")

        broken.setattr(destinations.Destination.objects, "add", fail)
        with pytest.raises(DatabaseError):
            counted.write()
        counted.reached("f", "example.com", 443)
    counted.write()
    assert rows() == [("example.com", 443, "reached", "", 2)]


def test_a_refusal_is_logged_once_between_two_writes(caplog):
    counted = Destinations()
    with caplog.at_level(logging.INFO, "pipeline_app.runners.destinations"):
        for _ in range(5):
            counted.refused("f", "10.0.0.1", 22, "a private address")
    assert [record.getMessage() for record in caplog.records] == [
        "Function f was refused 10.0.0.1:22: a private address"
    ]


def test_a_quiet_one_counts_and_logs_nothing(caplog):
    counted = Destinations(quiet=True)
    with caplog.at_level(logging.INFO, "pipeline_app.runners.destinations"):
        counted.refused("f", "10.0.0.1", 22, "a private address")
    assert caplog.records == []
    assert [contact.host for contact in counted._seen] == ["10.0.0.1"]
