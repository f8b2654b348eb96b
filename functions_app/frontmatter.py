"""The header in a function's first docstring, and the packages it asks for. Plain Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement

_PAIR = re.compile(r"^\s*([a-z_]+):\s*(.*)\s*$", re.IGNORECASE)
_CODING = re.compile(r"^#.*$")
_QUOTES = '"""'
_CONTINUES = ("<", ">", "=", "!", "~")


def read(source: str) -> dict[str, str]:
    """Returns the header's pairs, ``{}`` when there is none.

    The grammar is Open WebUI's to the letter; only where that yields nothing, a byte order mark,
    comments and blank lines before the docstring are passed over and its other spellings
    (three apostrophes, a prefix, text on the opening line) are accepted.
    """
    lines = source.splitlines()
    return _strict(lines) or _tolerant(lines)


def _strict(lines: list[str]) -> dict[str, str]:
    if not lines or lines[0].strip() != _QUOTES:
        return {}
    body: list[str] = []
    for line in lines[1:]:
        if _QUOTES in line:
            break
        body.append(line)
    return _pairs(body)


def _tolerant(lines: list[str]) -> dict[str, str]:
    rest = iter(lines)
    first = ""
    for line in rest:
        first = line.lstrip("\ufeff").strip()
        if first and not _CODING.match(first):
            break
    opening = re.match(r"[rRuU]?(\"\"\"|''')", first)
    if opening is None:
        return {}
    quotes = opening.group(1)
    head, closed, _ = first[opening.end() :].partition(quotes)
    body = [head]
    if not closed:
        for line in rest:
            text, closed, _ = line.partition(quotes)
            body.append(text)
            if closed:
                break
    # Without an end this is not a docstring but a broken file, and code lines must not become keys.
    return _pairs(body) if closed else {}


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    return {match.group(1): match.group(2).strip() for line in lines if (match := _PAIR.match(line))}


def requirements(frontmatter: Mapping[str, str]) -> list[str]:
    """Returns the packages asked for, as PEP 508 strings in their order, each once.

    The key is ``requirements``, in any case. ``a>=1,<2`` and ``a[x,y]`` stay whole although commas
    also separate packages. A part that is no requirement raises ``ValueError`` with a sentence.
    """
    text = frontmatter.get("requirements")
    if text is None:
        text = next((value for key, value in frontmatter.items() if key.lower() == "requirements"), "")
    found: dict[str, None] = {}
    for part in _parts(text):
        try:
            requirement = Requirement(part)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(f"The requirement {part!r} in the frontmatter is not a valid one: {reason}.") from None
        found.setdefault(str(requirement))
    return list(found)


def _parts(text: str) -> list[str]:
    """Splits at commas that separate packages: not those in brackets, quotes or before a comparison."""
    parts = [""]
    depth, quote = 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[(":
            depth += 1
        elif character in ")]":
            depth = max(depth - 1, 0)
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    joined: list[str] = []
    for part in filter(None, (part.strip() for part in parts)):
        if joined and part.startswith(_CONTINUES):
            joined[-1] += f",{part}"
        else:
            joined.append(part)
    return joined
