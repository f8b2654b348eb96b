from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connections
from django.db.models import F
from django.utils import timezone

from functions_app.models import Function, OutboxEvent
from functions_app.models.outbox import DELAYS, LEASE
from tests.builders import make_function
from tests.functions_app.test_system_events import EVENT

pytestmark = pytest.mark.django_db


@pytest.fixture
def diary():
    function = make_function("diary", EVENT)
    OutboxEvent.objects.all().delete()
    return function


def put(*names: str, function: str = "diary", **fields) -> list[OutboxEvent]:
    return [OutboxEvent.objects.create(event_id=uuid.uuid4(), name=name, function=function, **fields) for name in names]


def names(events: list[OutboxEvent]) -> list[str]:
    return [event.name for event in events]


def later(**fields) -> None:
    """Lets the clock run on for what waits."""
    OutboxEvent.objects.update(due_at=F("due_at") - timedelta(**fields))


def test_events_are_claimed_in_the_order_they_were_written(diary):
    put("a", "b", "c")
    assert OutboxEvent.objects.functions_due() == ["diary"]
    assert names(OutboxEvent.objects.claim("diary", "here", 2)) == ["a", "b"]


def test_while_a_process_is_at_a_function_no_other_is(diary):
    put("a", "b")
    OutboxEvent.objects.claim("diary", "here", 1)
    assert OutboxEvent.objects.functions_due() == []
    assert OutboxEvent.objects.claim("diary", "there", 1) == []


def test_a_claim_that_is_not_renewed_ends(diary):
    put("a")
    OutboxEvent.objects.claim("diary", "here", 1)
    later(seconds=LEASE.total_seconds() - 5)
    OutboxEvent.objects.renew("here", ["diary"])
    later(seconds=LEASE.total_seconds() - 5)
    assert OutboxEvent.objects.claim("diary", "there", 1) == []
    later(seconds=10)
    assert names(OutboxEvent.objects.claim("diary", "there", 1)) == ["a"]


def test_who_has_lost_a_claim_changes_nothing_any_more(diary):
    put("a")
    [mine] = OutboxEvent.objects.claim("diary", "here", 1)
    later(seconds=LEASE.total_seconds() + 1)
    [theirs] = OutboxEvent.objects.claim("diary", "there", 1)
    mine.failed("too late")
    mine.delivered()
    assert OutboxEvent.objects.get().attempts == 0
    theirs.delivered()
    assert not OutboxEvent.objects.exists()


def test_what_a_process_gives_back_is_due_at_once(diary):
    put("a")
    OutboxEvent.objects.claim("diary", "here", 1)
    OutboxEvent.objects.release("here")
    assert names(OutboxEvent.objects.claim("diary", "there", 1)) == ["a"]


def test_a_failed_event_is_tried_later_and_given_up_in_the_end(diary):
    put("a", "b")
    for attempt, delay in enumerate(DELAYS, 1):
        event = OutboxEvent.objects.claim("diary", "here", 2)[0]
        assert event.failed("it\0hurts")
        event.refresh_from_db()
        assert (event.attempts, event.state, event.error) == (attempt, "failed", "it\ufffdhurts")
        assert abs(event.due_at - timezone.now() - delay) < timedelta(seconds=5)
        OutboxEvent.objects.release("here")
        assert OutboxEvent.objects.functions_due() == ["diary"], "the others do not wait for it"
        later(hours=3)
    [event, _] = OutboxEvent.objects.claim("diary", "here", 2)
    assert not event.failed("no")
    event.refresh_from_db()
    assert (event.attempts, event.state, event.due_at) == (len(DELAYS) + 1, "given up", None)
    OutboxEvent.objects.release("here")
    assert names(OutboxEvent.objects.claim("diary", "here", 2)) == ["b"]
    assert OutboxEvent.objects.try_again() == 1
    event.refresh_from_db()
    assert (event.attempts, event.state) == (0, "waiting")


def test_what_waits_for_functions_that_listen_no_more_is_forgotten_but_a_farewell(diary):
    put("a", "function.disable_started")
    put("function.disable_started", function="gone")
    put("a", function="other")
    make_function("other", EVENT)
    OutboxEvent.objects.exclude(name__in=["a", "function.disable_started"]).delete()
    Function._base_manager.filter(pk="diary").update(is_active=False)
    OutboxEvent.objects.forget_others()
    left = OutboxEvent.objects.values_list("function", "name")
    assert list(left) == [("diary", "function.disable_started"), ("other", "a")]


def test_what_was_given_up_long_ago_and_what_is_too_much_is_pruned(diary):
    old = timezone.now() - timedelta(days=8)
    put("old", due_at=None, created_at=old)
    put("waits", created_at=old)
    put("new", due_at=None)
    assert OutboxEvent.objects.prune(days=7, rows=100) == 1
    assert OutboxEvent.objects.prune(days=7, rows=1) == 1
    assert names(list(OutboxEvent.objects.all())) == ["new"]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_claim_at_once_one_gets_them(diary):
    put(*"abcdefgh")
    got: list[list[str]] = []
    start = threading.Barrier(4)

    def claim(number: int) -> None:
        try:
            start.wait()
            got.append(names(OutboxEvent.objects.claim("diary", f"process {number}", 4)))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [[], [], [], ["a", "b", "c", "d"]]
