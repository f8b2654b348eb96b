"""The results of the suite as a page for the docs: which combination of layers holds what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.hostile.arena import Result
from tests.hostile.cases import CASES, LISTED
from tests.hostile.cases.case import Case

HEAD = """# The hostile suite

Every line is an attack by a function's author, run in a real worker of a real server (`tests/hostile/`). It is held
when it came to what the column "expected" says and nothing outside was touched, while the health page and a second
function went on answering. `python -m tests.hostile --table docs/hostile-suite.md` writes this page; with `--without`
and `--user` it tries other combinations. What no layer but one stops is shown by the columns in which that layer is off.

"""


def page(columns: Mapping[str, Mapping[int, Result | None]], notes: Mapping[str, str]) -> str:
    """Returns the page. ``columns`` has, for each combination, every case's result, None for one that was not run."""
    text = HEAD
    text += "| combination | isolation | held |\n|---|---|---|\n"
    for name, results in columns.items():
        text += f"| {name} | {notes.get(name, '')} | {counted(list(results.values()))} |\n"
    category = ""
    for case in CASES:
        if case.category != category:
            category = case.category
            text += f"\n## {category}\n\n| # | case | expected | stopped by | {' | '.join(columns)} |\n"
            text += "|---|---|---|---|" + "---|" * len(columns) + "\n"
        cells = [_cell(results.get(case.number)) for results in columns.values()]
        text += (
            f"| {case.number} | {_plain(case.name)} | {expected(case)} | {_plain(case.layer)} | {' | '.join(cells)} |\n"
        )
    return text


def counted(results: Sequence[Result | None]) -> str:
    """Returns how many of the cases that were run were held, those of the original list apart."""
    run = [result for result in results if result is not None]
    listed = [result for result in run if result.case.number <= LISTED]
    own = [result for result in run if result.case.number > LISTED]
    parts = [f"{sum(r.right for r in part)} of {len(part)}" for part in (listed, own)]
    return f"{parts[0]} listed, {parts[1]} further"


def expected(case: Case) -> str:
    """Returns in a few words what must come of a case."""
    return "any clear end" if len(case.expect) > 6 else " or ".join(case.expect)


def _cell(result: Result | None) -> str:
    if result is None:
        return "not run"
    if result.right:
        return "held"
    return f"**{result.outcome}**" if result.outcome not in result.case.expect else "**outside**"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")
