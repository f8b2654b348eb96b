"""The page of results is that of these cases, and what the threat model quotes stands on it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.hostile.__main__ import COMBINATIONS
from tests.hostile.cases import CASES

CHECKOUT = Path(__file__).resolve().parent.parent.parent
THROUGH = {"**leak**", "**outside**"}


@cache
def rows() -> dict[int, list[str]]:
    """The cells of each case's line, by its number."""
    text = (CHECKOUT / "docs/hostile-suite.md").read_text()
    lines = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.M)
    return {int(number): re.split(r" (?<!\\)\| ", rest) for number, rest in lines}


def through(combination: str) -> int:
    """How many cases get through on a combination."""
    column = list(COMBINATIONS).index(combination) - len(COMBINATIONS)
    return sum(cells[column] in THROUGH for cells in rows().values())


def test_the_page_has_a_line_for_every_case():
    assert list(rows()) == [case.number for case in CASES]
    assert {len(cells) for cells in rows().values()} == {3 + len(COMBINATIONS)}


@pytest.mark.parametrize("combination", ["all layers", "ordinary user"])
def test_everything_holds_with_all_layers(combination):
    column = list(COMBINATIONS).index(combination) - len(COMBINATIONS)
    assert {number: cells[column] for number, cells in rows().items() if cells[column] != "held"} == {}


@pytest.mark.parametrize(("layer", "combination"), [("seccomp", "without seccomp"), ("Landlock", "without Landlock")])
def test_the_threat_model_quotes_the_page(layer, combination):
    text = (CHECKOUT / "THREAT_MODEL.md").read_text()
    line = re.search(rf"^\| {layer} \|.*$", text, re.M)[0]
    # In tens: what is noticed outside is sometimes told of a case that only ran at the same time.
    assert f"more than {through(combination) // 10 * 10} of the hostile cases get through" in line


@pytest.mark.parametrize("combination", ["without bubblewrap", "ordinary user, without bubblewrap"])
def test_one_case_needs_bubblewrap(combination):
    assert through(combination) == 1
