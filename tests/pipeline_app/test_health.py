"""What ``/readyz`` says about isolation."""

from __future__ import annotations

from pipeline_app.runners import attestation
from pipeline_app.runners.attestation import Attestation
from pipeline_app.runtime import engine

ALL = {name: {"held": True, "detail": "Held."} for names in attestation.LAYERS.values() for name in names}


def ready(api):
    return api.get("/readyz")


def test_the_inline_runner_says_that_it_isolates_nothing(inline, api):
    answer = ready(api)
    assert answer.status == 200
    assert answer.json["checks"]["isolation"] == "inline"
    assert answer.json["checks"]["layers"] == "none: functions run in the server's process"


def test_the_attested_layers_are_named(api, monkeypatch, settings):
    settings.FUNCTIONS_MIN_ISOLATION = "standard"
    found = Attestation.of({**ALL, "view": {"held": False, "detail": "Possible: looking."}})
    monkeypatch.setattr(engine.runner, "attestation", found)
    answer = ready(api)
    assert answer.status == 200
    checks = answer.json["checks"]
    assert checks["isolation"] == "standard"
    assert list(checks["layers"]) == list(attestation.LAYERS)
    assert checks["layers"]["mount view (bubblewrap)"] == "does not hold"
    assert checks["layers"]["files (Landlock)"] == "holds"
    assert "Possible" not in answer.text  # the page is for everybody


def test_too_little_isolation_is_not_ready(api, monkeypatch, settings):
    settings.FUNCTIONS_MIN_ISOLATION = "standard"
    monkeypatch.setattr(engine.runner, "attestation", Attestation.of({**ALL, "reading": {"held": False, "detail": ""}}))
    answer = ready(api)
    assert (answer.status, answer.json["checks"]["isolation"]) == (503, "basic")
