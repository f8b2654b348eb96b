"""Open WebUI's exports in, and ours out."""

from __future__ import annotations

import pytest

from functions_app.exchange import export
from functions_app.exchange.entries import read
from functions_app.exchange.plan import Terms
from functions_app.exchange.run import carry_out
from functions_app.models import Function, Valves

pytestmark = pytest.mark.django_db

SYNC = Terms(overwrite=True, delete=True)


def run(data, terms=Terms(), by=None):  # noqa: B008 - terms are frozen
    return carry_out(read(data), terms, by)


def test_open_webuis_exports_import_and_our_export_has_the_same_content(sample, sample_with_valves, alice):
    run(sample_with_valves, by=alice)
    mine = export.entries(Function.objects.all(), valves=True)
    theirs = sorted(sample_with_valves, key=lambda entry: entry["id"])
    for ours, other in zip(mine, theirs, strict=True):
        assert list(ours) == list(other)
        assert {key: type(value) for key, value in ours.items()} == {key: type(value) for key, value in other.items()}
        assert list(ours["meta"]) == list(other["meta"])
        own = {"version_id": ours["version_id"], "user_id": str(alice.pk), "updated_at": ours["updated_at"]}
        valves = {name: value for name, value in other["valves"].items() if name != "api_key"}
        assert ours == {**other, **own, "valves": valves}
    plain = export.entries(Function.objects.all())
    for ours, other in zip(plain, sorted(sample, key=lambda entry: entry["id"]), strict=True):
        assert list(ours) == list(other)
        own = {"version_id": ours["version_id"], "user_id": str(alice.pk), "updated_at": ours["updated_at"]}
        assert ours == {**other, **own}
    assert Valves.objects.get(function="greeter").values["api_key"] == "sk-sample-not-a-secret"


def test_our_own_export_syncs_back_without_a_change(sample_with_valves):
    run(sample_with_valves)
    plan = run(export.entries(Function.objects.all(), valves=True), SYNC)
    assert plan.effective == []
