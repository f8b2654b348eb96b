"""The level follows from attacks alone: take a layer away, and it falls."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pipeline_app.runners import attestation, bubblewrap
from pipeline_app.runners.attestation import Attestation, Bait, attest, level_of
from pipeline_app.runners.layers import Layers
from pipeline_app.runners.process import ProcessRunner
from pipeline_app.runners.sandbox import Sandbox, TooLittleIsolation
from pipeline_app.worker import landlock, probes
from tests.pipeline_app.worker import confined
from tests.pipeline_app.worker.attempts import SOURCE
from tests.pipeline_app.worker.confined import NOBODY, linux

HELD = {"held": True, "detail": "Held."}
ALL = {probe: HELD for probe_names in attestation.LAYERS.values() for probe in probe_names}


def without(*names):
    return {**ALL, **{name: {"held": False, "detail": f"{name} was possible."} for name in names}}


# --- The level --------------------------------------------------------------------------------------------


def test_layers_ask_for_every_probe_there_is():
    assert set(ALL) == set(probes.PROBES)
    assert [name for layers in attestation.LEVELS.values() for name in layers] != []
    assert sorted(name for layers in attestation.LEVELS.values() for name in layers) == sorted(attestation.LAYERS)


@pytest.mark.parametrize(
    ("broken", "level"),
    [
        ((), "strict"),
        (("view",), "standard"),
        (("reading",), "basic"),
        (("writing", "view"), "basic"),
        (("processes",), "basic"),
        (("calls",), "process"),
        (("sockets", "reading"), "process"),
        (("network",), "process"),
        (("limits",), "process"),
        (("capabilities",), "process"),
        (("no_new_privs",), "process"),
        (("environment",), "inline"),
        (("descriptors",), "inline"),
        (("process",), "inline"),
    ],
)
def test_the_level_is_the_highest_of_which_everything_holds(broken, level):
    assert level_of(without(*broken)) == level


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_probe_that_was_not_made_did_not_hold(name):
    results = {probe: result for probe, result in ALL.items() if probe != name}
    assert level_of(results) == level_of(without(name))
    report = next(layer for layer in Attestation.of(results).layers if name in attestation.LAYERS[layer.name])
    assert (report.held, report.detail) == (False, f"Not probed: {name}.")


def test_only_true_is_held():
    assert level_of({**ALL, "process": {"held": 1, "detail": ""}}) == "inline"
    assert level_of({}) == "inline"


def test_it_says_what_does_not_hold():
    found = Attestation.of(without("signals", "view"))
    assert str(found) == "Isolation: process. Not held: system calls (seccomp), mount view (bubblewrap)."
    assert str(Attestation.of(ALL)) == "Isolation: strict. All layers hold."
    layers = {layer["name"]: layer for layer in found.to_wire()["layers"]}
    assert layers["system calls (seccomp)"]["detail"] == "signals was possible."
    assert layers["network"] == {"name": "network", "held": True, "detail": "Held."}


# --- Bait -------------------------------------------------------------------------------------------------


async def test_a_contact_and_a_changed_file_are_seen_whatever_the_worker_says():
    async def ask(targets):
        with socket.create_connection(("127.0.0.1", targets["tcp"])):
            Path(targets["file"]).write_text("changed")
        return ALL

    found = await attest(ask)
    assert found.level == "process"
    assert found.results["network"]["detail"] == "Reached the server over TCP."
    assert found.results["writing"]["detail"] == "Possible: changing the server's files."


async def test_the_bait_is_removed():
    seen = []

    async def ask(targets):
        seen.append(targets)
        return {}

    await attest(ask, memory_mb=300)
    assert seen[0]["memory_mb"] == 300
    assert not os.path.exists(seen[0]["folder"])


@linux
def test_without_any_confinement_nearly_every_probe_gets_through():
    layers = Layers(bubblewrap=False, landlock=False, seccomp=False, capabilities=False)
    with Bait() as bait:
        targets = {**bait.targets, "memory_mb": 256}
        said = confined.run(["probe"], SOURCE, targets, layers=layers, network="unbrokered")
        results = bait.checked(said.value("probe"))
    held = {name for name, result in results.items() if result["held"]}
    if os.geteuid() == 0:
        assert held == {"process", "environment", "descriptors", "no_new_privs", "limits"}
    assert level_of(results) == "process"
    assert "reading the server's files" in results["reading"]["detail"]
    assert "forking" in results["programs"]["detail"]


@linux
@pytest.mark.parametrize(
    ("layers", "user", "level"),
    [
        (Layers(), None, "strict"),
        (Layers(), NOBODY, "strict"),
        (Layers(bubblewrap=False), NOBODY, "standard"),
        (Layers(bubblewrap=False, landlock_version=1), None, "standard"),
        (Layers(bubblewrap=False, landlock=False), NOBODY, "basic"),
    ],
)
def test_the_level_as_another_user_and_on_an_older_kernel(layers, user, level):
    if layers.bubblewrap and bubblewrap.why_not():
        pytest.skip(bubblewrap.why_not())
    if user is not None and confined.why_no_nobody():
        pytest.skip(confined.why_no_nobody())
    with Bait() as bait:
        for path in (Path(bait.targets["folder"]), Path(bait.targets["file"])):
            path.chmod(0o777)  # so that nothing but the sandbox keeps another user out
        bait._before = bait._seen()
        source, targets = SOURCE, {**bait.targets, "memory_mb": 256}
        results = bait.checked(confined.run(["probe"], source, targets, layers=layers, user=user).value("probe"))
    assert level_of(results) == level, results


# --- Real workers -----------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    ("layers", "level", "broken"),
    [
        (Layers(), "strict", []),
        (Layers(bubblewrap=False), "standard", ["mount view (bubblewrap)"]),
        (Layers(bubblewrap=False, landlock=False), "basic", ["files (Landlock)", "mount view (bubblewrap)"]),
        (Layers(landlock=False), "basic", ["files (Landlock)"]),
        # Landlock alone knows neither modes of files nor sockets with a path.
        (
            Layers(bubblewrap=False, seccomp=False),
            "process",
            ["system calls (seccomp)", "network", "files (Landlock)", "mount view (bubblewrap)"],
        ),
    ],
)
async def test_a_layer_taken_away_lowers_the_level(settings, layers, level, broken):
    if layers.bubblewrap and bubblewrap.why_not():
        pytest.skip(bubblewrap.why_not())
    if layers.landlock and not landlock.version():
        pytest.skip("this kernel has no Landlock")
    settings.FUNCTIONS_MIN_ISOLATION = "inline"
    runner = ProcessRunner(sandbox=Sandbox(layers=layers))
    try:
        await runner.open()
        assert [layer.name for layer in runner.attestation.layers if not layer.held] == broken
        assert runner.isolation == runner.attestation.level == level
    finally:
        await runner.close()


@linux
async def test_below_the_least_level_nothing_runs(settings):
    settings.FUNCTIONS_MIN_ISOLATION = "standard"
    runner = ProcessRunner(sandbox=Sandbox(layers=Layers(bubblewrap=False, landlock=False)))
    with pytest.raises(TooLittleIsolation, match="FUNCTIONS_MIN_ISOLATION is 'standard', and this machine") as caught:
        await runner.open()
    assert caught.value.attestation.level == "basic"
    await runner.close()
