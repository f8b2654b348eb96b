"""The totals of a function over HTTP."""

from __future__ import annotations

import json

import pytest

from pipeline_app.models import Run, Usage
from pipeline_app.runs import log

STATS = "/api/v1/functions/id/{}/stats"


def test_totals_count_calls_errors_and_times(api, pipe):
    pipe("greeter", "if body['messages'][0]['content'] == 'fail':\n    raise ValueError('no')\nreturn 'hi'")
    for text in ("a", "b", "fail"):
        api.chat("greeter", text)
    stats = api.get(STATS.format("greeter")).json
    assert (stats["function"], stats["calls"], stats["errors"]) == ("greeter", 3, 1)
    assert 0 < stats["p50_ms"] <= stats["p95_ms"]
    assert stats["wall_ms"] > 0
    assert stats["since"] < stats["until"]
    assert stats["hooks"]["pipe"]["calls"] == 3


def test_totals_outlive_their_runs(api, pipe):
    pipe("greeter", "return 'hi'")
    api.chat("greeter")
    log.write()
    Run.objects.all().delete()
    assert api.get(STATS.format("greeter")).json["calls"] == 1


def test_totals_of_a_time_leave_out_what_was_before(api, pipe):
    from datetime import timedelta

    pipe("greeter", "return 'hi'")
    api.chat("greeter")
    log.write()
    for row in Usage.objects.all():
        row.pk, row.start = None, row.start - timedelta(hours=3)
        row.save()
    assert api.get(STATS.format("greeter")).json["calls"] == 2
    assert api.get(STATS.format("greeter") + "?seconds=3600").json["calls"] == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "1e12", "nan"])
def test_totals_of_no_time_are_refused(api, pipe, seconds):
    pipe("greeter", "return 'hi'")
    answer = api.get(STATS.format("greeter") + f"?seconds={seconds}")
    assert (answer.status, answer.error["param"]) == (400, "seconds")


def test_a_function_without_calls_has_empty_totals(api, pipe):
    pipe("greeter", "return 'hi'")
    stats = json.loads(api.get(STATS.format("greeter")).text)
    assert (stats["calls"], stats["p50_ms"], stats["cpu_ms"], stats["hooks"]) == (0, None, None, {})
