"""The page that says what stands between functions and the server."""

from __future__ import annotations

import pytest
from django.urls import reverse

from pipeline_app.runners.attestation import INLINE, LAYERS, Attestation
from pipeline_app.runtime import engine
from tests.builders import make_function

PROBES = sorted({probe for probes in LAYERS.values() for probe in probes})


class Attested:
    """The process's runner, at the level that some probes amount to."""

    def __init__(self, runner, attestation):
        self._runner = runner
        self.attestation = attestation
        self.isolation = attestation.level if attestation else "process"

    def __getattr__(self, name):
        return getattr(self._runner, name)


@pytest.fixture
def attested(monkeypatch):
    """Says which probes got through in the worker that was asked at start."""

    def say(*through: str) -> None:
        results = {
            name: {"held": name not in through, "detail": f"{name} got through" if name in through else f"{name} held"}
            for name in PROBES
        }
        runner = Attested(engine.runner, Attestation.of(results))
        monkeypatch.setattr(type(engine), "runner", property(lambda self: runner))

    return say


def test_each_layer_and_probe_is_named_with_what_happened(admin, words, attested):
    attested()
    response = admin.get(reverse("admin-isolation"))
    page = words(response)
    assert response.context["level"] == "strict"
    assert not response.context["below"]
    assert "Attested: hostile probes ran in a real worker" in page
    for layer in LAYERS:
        assert f"{layer} yes" in page
    for probe in PROBES:
        assert f"{probe} held" in page
    assert "errornote" not in response.content.decode()


def test_a_level_below_standard_is_a_warning(admin, words, attested):
    attested("reading")
    response = admin.get(reverse("admin-isolation"))
    assert response.context["level"] == "basic"
    page = words(response)
    assert "This machine gives less than functions of strangers need: basic." in page
    assert "files (Landlock) no reading got through" in page


def test_functions_that_want_more_than_there_is_are_named(admin, words, attested):
    make_function("careful", name="careful", policy={"min_isolation": "strict"})
    make_function("easy", name="easy", policy={"min_isolation": "process"})
    attested("view")
    page = words(admin.get(reverse("admin-isolation")))
    assert "They answer 503 on this server" in page
    assert "careful strict" in page
    assert "easy" not in page


def test_the_inline_runner_is_a_warning_too(admin, words, monkeypatch):
    runner = Attested(engine.runner, INLINE)
    monkeypatch.setattr(type(engine), "runner", property(lambda self: runner))
    page = words(admin.get(reverse("admin-isolation")))
    assert "Functions run inside the server's process: whoever may publish functions" in page


def test_the_first_page_shows_the_level_and_leads_there(admin, staff, attested):
    attested("view")
    page = admin.get(reverse("admin:index")).content.decode()
    assert f'<a class="functions-badge" href="{reverse("admin-isolation")}">standard</a>' in page
    attested("network")
    assert (
        f'<a class="functions-badge low" href="{reverse("admin-isolation")}">process</a>'
        in admin.get(reverse("admin:index")).content.decode()
    )
    assert (
        reverse("admin-isolation") not in staff("functions_app.view_model").get(reverse("admin:index")).content.decode()
    )


def test_only_who_may_view_functions_may_see_it(staff, client):
    assert staff("functions_app.view_function").get(reverse("admin-isolation")).status_code == 200
    assert staff("functions_app.view_model").get(reverse("admin-isolation")).status_code == 403
    assert client.get(reverse("admin-isolation")).status_code == 302
