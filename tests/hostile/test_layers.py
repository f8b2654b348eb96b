"""The suite sees what it should: with a layer taken away, named attacks come through."""

from __future__ import annotations

import pytest

from tests.hostile.arena import Arena
from tests.hostile.cases import BY_NUMBER
from tests.hostile.cases.case import LEAK

COMES_THROUGH = {
    "bubblewrap": (27,),
    "landlock": (2, 3, 4, 14, 15, 24, 35, 43, 413),
    "seccomp": (28, 42, 54, 60, 62, 89, 103, 204, 208, 219, 228),
}
"""By layer, the cases that only it stops when bubblewrap is away too."""
HELD_STILL = {"bubblewrap": (2, 3, 42, 60, 208), "landlock": (32, 42, 60, 208, 228), "seccomp": (2, 3, 4, 15, 43)}
"""And some that the other layers go on stopping."""


@pytest.mark.parametrize("layer", COMES_THROUGH)
def test_without_a_layer_named_attacks_come_through(tmp_path, base_packages, empty_database, layer):
    cases = [BY_NUMBER[number] for number in (*COMES_THROUGH[layer], *HELD_STILL[layer])]
    arena = Arena(tmp_path / "arena", empty_database, cases, layers_off=sorted({"bubblewrap", layer}))
    try:
        results = {case.number: arena.run(case) for case in arena.cases}
        isolation = arena.isolation()
    finally:
        arena.close()
    through = {number for number, result in results.items() if result.outcome == LEAK or result.outside}
    assert through == set(COMES_THROUGH[layer]), "\n".join(map(str, results.values()))
    assert isolation != "strict"
