"""Keys and runs as rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from pipeline_app.models import ApiKey, Run


def test_a_key_is_kept_as_a_digest_and_a_prefix(alice):
    key, text = ApiKey.objects.issue(alice, "laptop", ["models"])
    assert text.startswith("sk-")
    key.refresh_from_db()
    assert key.prefix == text[:10]
    assert key.digest == ApiKey.digest_of(text)
    assert text not in str(key.__dict__)
    assert str(key) == f"{text[:10]}… (laptop)"


def test_an_unknown_scope_is_refused(alice):
    with pytest.raises(ValidationError, match="Scopes are a list of models, actions, files, functions"):
        ApiKey.objects.issue(alice, scopes=["everything"])


def test_a_key_opens_nothing_when_it_is_revoked_or_over(alice):
    key, _ = ApiKey.objects.issue(alice)
    assert key.usable
    key.revoke()
    assert not key.usable
    over, _ = ApiKey.objects.issue(alice, expires_at=timezone.now() - timedelta(seconds=1))
    assert not over.usable


def make_run(days: int) -> Run:
    return Run.objects.create(
        request_id="r", model="m", outcome="succeeded", started_at=timezone.now() - timedelta(days=days), wall_ms=1
    )


def test_runs_are_kept_for_a_time_and_up_to_a_number(db):
    kept = [make_run(days) for days in (0, 1, 2)]
    make_run(40)
    assert Run.objects.prune(days=30, rows=10) == 1
    assert Run.objects.prune(days=30, rows=2) == 1
    assert set(Run.objects.all()) == set(kept[:2])
    assert Run.objects.prune(days=30, rows=2) == 0


def test_a_run_names_its_functions_once(db):
    run = make_run(0)
    run.steps = [{"function": "a", "hook": "inlet"}, {"function": "b"}, {"function": "a", "hook": "outlet"}]
    assert run.functions() == ["a", "b"]


def test_what_postgresql_can_not_store_is_replaced():
    from pipeline_app.runs import storable

    assert storable({"a\x00": ["\x00b", 1, None]}) == {"a\ufffd": ["\ufffdb", 1, None]}
    storable("\ud800").encode()
