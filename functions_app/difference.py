"""What differs between two sources, as a unified diff. Plain Python."""

from __future__ import annotations

import difflib
import re

_LINE_END = re.compile(r"\r\n|\r|\n")
MOST = 25_000_000
"""The most pairs of lines that are compared with one another: difflib is slow for what is made to slow it down."""


def unified(before: str, after: str, names: tuple[str, str] = ("selected.py", "production.py")) -> str:
    """Returns a unified diff without line ends; empty when the lines are the same.

    Where too much differs to be compared line by line, all of that part goes and all of it comes.
    """
    old, new = _LINE_END.split(before), _LINE_END.split(after)
    if old == new:
        return ""
    start = _same(old, new)
    end = _same(old[start:][::-1], new[start:][::-1])
    if (len(old) - start - end) * (len(new) - start - end) <= MOST:
        return "\n".join(difflib.unified_diff(old, new, *names, lineterm=""))
    gone, come = old[start : len(old) - end], new[start : len(new) - end]
    head = [f"--- {names[0]}", f"+++ {names[1]}", f"@@ -{_range(start, gone)} +{_range(start, come)} @@"]
    return "\n".join([*head, *(f"-{line}" for line in gone), *(f"+{line}" for line in come)])


def only_line_ends(before: str, after: str) -> bool:
    """Whether two different sources differ in nothing but how their lines end."""
    return before != after and _LINE_END.split(before) == _LINE_END.split(after)


def _same(one: list[str], other: list[str]) -> int:
    """Returns how many lines are the same from the start."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _range(start: int, lines: list[str]) -> str:
    return f"{start + bool(lines)},{len(lines)}"
