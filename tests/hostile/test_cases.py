"""Every attack comes to nothing, and nobody else notices."""

from __future__ import annotations

import pytest

from pipeline_app.runners import bubblewrap
from tests.hostile.cases import CASES
from tests.hostile.cases.case import LEAK


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_attack_is_held(hostile_results, case):
    result = hostile_results(case)
    if case.open_without == "bubblewrap" and not bubblewrap.available():
        assert result.outcome == LEAK, str(result)  # what THREAT_MODEL.md says stays open without it
    else:
        assert result.right, str(result)
