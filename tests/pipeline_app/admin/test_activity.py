"""The page that says what a function did and does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from pipeline_app.models import Destination, Trip
from pipeline_app.runtime import engine
from tests.builders import make_function

pytestmark = pytest.mark.usefixtures("fresh_snapshot", "base_packages")


def url(function_id: str = "greeter") -> str:
    return reverse("admin:functions_app_function_activity", args=[function_id])


def test_a_function_without_calls_says_so(admin, words):
    make_function("greeter")
    page = words(admin.get(url()))
    for sentence in ("No calls.", "It has reached no host and was refused none.", "It never opened."):
        assert sentence in page


def test_totals_are_those_of_the_chosen_time(admin, words, api, pipe):
    pipe("greeter", "return 'hi'")
    api.chat("greeter"), api.chat("greeter")
    page = words(admin.get(url()))
    assert "Over the last hour · day · week · month" in page
    assert "pipe 2 0 " in page
    response = admin.get(url() + "?over=hour")
    assert response.context["window"] == "hour"
    assert response.context["stats"]["calls"] == 2
    assert admin.get(url() + "?over=aeon").context["window"] == "day"


def test_where_it_went_and_when_its_breaker_opened(admin, words):
    make_function("greeter"), make_function("other")
    now = timezone.now()
    for number in range(52):
        Destination.objects.create(
            function="greeter", host=f"h{number}", port=443, verdict="reached", count=1, last_at=now
        )
    Destination.objects.create(
        function="greeter", host="10.0.0.1", port=80, verdict="refused", count=1234, last_at=now, reason="private"
    )
    Destination.objects.create(function="other", host="elsewhere", port=80, verdict="reached", count=1, last_at=now)
    Trip.objects.note("greeter", 3, now + timedelta(seconds=30), "3 workers crashed.", "log", "here:1")
    response = admin.get(url())
    page = words(response)
    assert "10.0.0.1 80 refused 1,234" in page and "private" in page
    assert "3 more" in page
    assert "elsewhere" not in page
    assert "here:1 3 workers crashed." in page
    more = admin.get(reverse("admin:pipeline_app_destination_changelist") + "?function=greeter")
    assert "elsewhere" not in more.content.decode()
    assert "10.0.0.1" in more.content.decode()


class Watched:
    """The process's runner, with workers and a breaker of the test's choice."""

    isolation = "standard"

    def __init__(self, runner, state):
        self._runner = runner
        self._state = state

    def __getattr__(self, name):
        return getattr(self._runner, name)

    def state(self, function_id):
        return self._state


@pytest.fixture
def state(monkeypatch):
    """Says what the runner tells of a function."""

    def say(workers=(), breaker=None):
        watched = Watched(engine.runner, {"workers": list(workers), "breaker": breaker})
        monkeypatch.setattr(type(engine), "runner", property(lambda self: watched))

    return say


WORKER = {"version": 2, "pid": 4711, "calls": 3, "memory_mb": 41.7, "cpu": 1.25, "idle_s": 0.0, "retired": False}


def test_workers_and_an_open_breaker_are_shown(admin, words, state):
    make_function("greeter")
    opened = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    idle = {**WORKER, "pid": 4712, "calls": 0, "idle_s": 12.4}
    retired = {**WORKER, "pid": 4713, "retired": True}
    state([WORKER, idle, retired], {"reason": "it was ended.", "opened_at": opened, "until": opened + 30})
    page = words(admin.get(url()))
    assert "until 03:04:35, because its workers crashed again and again; the last time, it was ended." in page
    assert "4711 2 3 42 MB 1.25 s at work" in page
    assert "4712 2 0 42 MB 1.25 s idle for 12 s" in page
    assert "4713 2 3 42 MB 1.25 s retired: ends with its calls" in page
    assert "at isolation level standard" in page


def test_no_workers_is_said(admin, words, state):
    make_function("greeter")
    state()
    assert "None. One starts with the next call." in words(admin.get(url()))


def test_restarting_reaches_this_process_before_the_page_that_follows(admin, state, monkeypatch):
    make_function("greeter")
    state()
    forgotten = []
    monkeypatch.setattr(Watched, "forget", lambda self, function_id=None: forgotten.append(function_id), raising=False)
    admin.get(url())
    assert not forgotten
    admin.post(url())
    assert forgotten == ["greeter"]


def test_restarting_begins_a_new_epoch_and_is_written_down(admin, words):
    function = make_function("greeter")
    response = admin.post(url() + "?over=week", follow=True)
    assert response.redirect_chain[0][0].endswith("?over=week")
    assert "New calls get new workers" in str(next(iter(response.context["messages"])))
    before = function.epoch
    function.refresh_from_db()
    assert function.epoch and function.epoch != before
    history = admin.get(reverse("admin:functions_app_function_history", args=["greeter"]))
    assert "Restarted the workers." in history.content.decode()


def test_who_may_view_functions_sees_it_and_who_may_publish_restarts(staff, words):
    function = make_function("greeter")
    viewer, publisher = (
        staff("functions_app.view_function"),
        staff("functions_app.view_function", "functions_app.publish_function"),
    )
    assert '<input type="submit" class="button"' not in viewer.get(url()).content.decode()
    assert viewer.post(url()).status_code == 403
    assert '<input type="submit" class="button"' in publisher.get(url()).content.decode()
    assert publisher.post(url()).status_code == 302
    assert staff("functions_app.view_model").get(url()).status_code == 403
    function.refresh_from_db()
    assert function.epoch


def test_the_page_of_a_function_leads_there(admin):
    make_function("greeter")
    page = admin.get(reverse("admin:functions_app_function_change", args=["greeter"])).content.decode()
    assert f'<a href="{url()}">Activity</a>' in page


def test_a_function_that_is_not_there_is_404(admin):
    assert admin.get(url("nobody")).status_code == 404


def test_a_function_that_wants_more_isolation_is_said_to_be_refused(admin, words):
    function = make_function("greeter")
    assert "Calls are refused" not in words(admin.get(url()))
    function.change_policy({"min_isolation": "strict", "network": "none", "allow": ["example.com"]})
    page = words(admin.get(url()))
    level = engine.runner.isolation
    if level != "strict":
        assert "Calls are refused: its policy wants at least the isolation level strict" in page
    if level != "inline":
        assert "says network: none, and allows example.com." in page
