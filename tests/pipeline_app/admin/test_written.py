"""Pages of rows that the server writes: runs, destinations, trips."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from pipeline_app.models import Destination, Run, Trip


def make_run(**fields):
    given = {"request_id": "r1", "model": "m", "outcome": "failed", "started_at": timezone.now(), "wall_ms": 12.3}
    return Run.objects.create(**{**given, **fields})


STEP = {
    "function": "greeter", "version": 2, "hook": "pipe", "queue_ms": 3.0, "wall_ms": 1234.5, "cpu_ms": None,
    "memory_mb": 41.5, "exit": "the time limit of 1 s", "calls": 3,
    "error": {"type": "ValueError", "message": "no <b>", "line": 7, "traceback": "Traceback\n  line 7 <b>"},
    "output": [{"stream": "stdout", "text": "hello <i>"}, {"level": "WARNING", "text": "slow"}],
}  # fmt: skip


def test_a_run_shows_its_steps_with_what_was_said(admin, words):
    run = make_run(steps=[STEP], error="no <b>")
    response = admin.get(reverse("admin:pipeline_app_run_change", args=[run.pk]))
    page = words(response)
    assert "greeter v2 pipe × 3 3.0 ms 1.2 s – 42 MB the time limit of 1 s" in page
    html = response.content.decode()
    assert "line 7 &lt;b&gt;" in html and "hello &lt;i&gt;" in html
    assert "WARNING slow" in page


def test_a_run_of_an_older_version_is_shown_too(admin, words):
    step = {"function": "greeter", "version": 2, "hook": "pipe", "wall_ms": 1.0, "cpu_ms": 0.5}
    run = make_run(steps=[step], outcome="succeeded")
    page = words(admin.get(reverse("admin:pipeline_app_run_change", args=[run.pk])))
    assert "greeter v2 pipe – 1.0 ms 0.5 ms – itself" in page


def test_the_rule_that_an_error_ran_into_stands_beside_its_traceback(admin):
    error = {
        "type": "MemoryError",
        "message": "MemoryError. memory_mb is 512.",
        "line": 1,
        "traceback": "Traceback\nM\n",
    }
    run = make_run(steps=[{**STEP, "error": error}])
    html = admin.get(reverse("admin:pipeline_app_run_change", args=[run.pk])).content.decode()
    assert "MemoryError: MemoryError. memory_mb is 512.\n\nTraceback\nM" in html


def test_moments_are_told_to_the_second(admin, words):
    opened = Trip.objects.note("f", 1, timezone.now() + timedelta(seconds=30), "why", "log", "here:1")
    page = words(admin.get(reverse("admin:pipeline_app_trip_change", args=[opened.pk])))
    for when in (opened.opened_at, opened.until):
        assert f"{timezone.localtime(when):%Y-%m-%d %H:%M:%S}" in page


@pytest.mark.parametrize("name", ["run", "destination", "trip"])
def test_nothing_can_be_added_or_changed(admin, name):
    now = timezone.now()
    row = {
        "run": make_run,
        "destination": lambda: Destination.objects.create(
            function="f", host="h", port=1, verdict="reached", last_at=now
        ),
        "trip": lambda: Trip.objects.note("f", 1, now + timedelta(seconds=30), "why", "log", "here:1"),
    }[name]()
    assert admin.get(reverse(f"admin:pipeline_app_{name}_changelist")).status_code == 200
    assert admin.get(reverse(f"admin:pipeline_app_{name}_add")).status_code == 403
    change = reverse(f"admin:pipeline_app_{name}_change", args=[row.pk])
    assert admin.get(change).status_code == 200
    assert admin.post(change, {}).status_code == 403


@pytest.mark.parametrize("name", ["run", "destination", "trip"])
def test_they_are_for_who_audits(staff, name):
    url = reverse(f"admin:pipeline_app_{name}_changelist")
    assert staff("pipeline_app.view_run").get(url).status_code == 200
    assert staff("view_function", "change_function").get(url).status_code == 403
