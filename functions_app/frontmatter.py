"""The header in a function's first docstring, and the packages it asks for. Plain Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion

_PAIR = re.compile(r"^\s*([a-z_]+):\s*(.*)\s*$", re.IGNORECASE)
_CODING = re.compile(r"^#.*$")
_QUOTES = '"""'
_CONTINUES = ("<", ">", "=", "!", "~")

LONGEST = 500
"""Characters of one requirement."""
MOST = 100
"""Requirements of one function."""

_REFUSED_ADDRESS = "packages come from the index by name, not from an address"
_REFUSED = (
    (re.compile(r"^-|\s--\w"), "options are not taken; write package>=1.0"),
    (re.compile(r"^(\w+\+)?\w+://|^git@|^\w+\+\w+:"), _REFUSED_ADDRESS),
    (re.compile(r"^[.~]?[./\\]|^~|^[A-Za-z]:[\\/]"), "packages come from the index by name, not from a path"),
    (
        re.compile(r"^[^;<>=!~\[@]*\.(whl|zip|egg|tar|tgz|gz|bz2|xz|txz|tbz|zst)\s*(\[|;|$)", re.IGNORECASE),
        "packages come from the index by name, not from a file",
    ),
    (re.compile(r"\$\{"), "variables are not filled in"),
    (re.compile(r"[\x00-\x1f\x7f]"), "it has control characters"),
)


class Line(NamedTuple):
    """One line of a header: its number in the source, from 1, how many characters stand before it, and its text."""

    number: int
    offset: int
    text: str


class Header(NamedTuple):
    """Where a header stands. ``is_strict`` is whether Open WebUI reads it; ``closing`` is the line that ends it."""

    lines: list[Line]
    is_strict: bool
    opening: int
    closing: Line | None


def read(source: str) -> dict[str, str]:
    """Returns the header's pairs, ``{}`` when there is none.

    The grammar is Open WebUI's to the letter; only where that yields nothing, a byte order mark,
    comments and blank lines before the docstring are passed over and its other spellings
    (three apostrophes, a prefix, text on the opening line) are accepted.
    """
    found = header(source)
    return {} if found is None else _pairs(line.text for line in found.lines)


def header(source: str) -> Header | None:
    """Returns the lines that ``read`` reads; None when they hold no pair."""
    lines = source.splitlines()
    for found in (_strict(lines), _tolerant(lines)):
        if found is not None and _pairs(line.text for line in found.lines):
            return found
    return None


def pair(line: str) -> tuple[str, str] | None:
    """Returns the key and the value of a header's line; None when it is no pair."""
    match = _PAIR.match(line)
    return (match.group(1), match.group(2).strip()) if match else None


def _strict(lines: list[str]) -> Header | None:
    if not lines or lines[0].strip() != _QUOTES:
        return None
    body: list[Line] = []
    for number, line in enumerate(lines[1:], 2):
        if _QUOTES in line:
            return Header(body, True, 1, Line(number, 0, line.partition(_QUOTES)[0]))
        body.append(Line(number, 0, line))
    return Header(body, True, 1, None)


def _tolerant(lines: list[str]) -> Header | None:
    rest = iter(enumerate(lines, 1))
    begun, first = 0, ""
    for begun, line in rest:  # noqa: B007  # where it ended is looked at below
        first = line.lstrip("\ufeff").strip()
        if first and not _CODING.match(first):
            break
    opening = re.match(r"[rRuU]?(\"\"\"|''')", first)
    if opening is None:
        return None
    quotes = opening.group(1)
    head, closed, _ = first[opening.end() :].partition(quotes)
    body = [Line(begun, lines[begun - 1].index(quotes) + 3, head)]
    if not closed:
        for number, line in rest:
            text, closed, _ = line.partition(quotes)
            body.append(Line(number, 0, text))
            if closed:
                break
    # Without an end this is not a docstring but a broken file, and code lines must not become keys.
    return Header(body, False, begun, body[-1]) if closed else None


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    return {match.group(1): match.group(2).strip() for line in lines if (match := _PAIR.match(line))}


# What people write, and what to write instead; the first that fits says it.
_INSTEAD = (
    (re.compile(r"^(n/?a|nil|null|-+|no|empty)$", re.IGNORECASE), "where nothing is needed, leave the line out"),
    (re.compile(r"^(!?(python3? -m )?pip3? install|uv (pip install|add))\s", re.IGNORECASE), "write the package alone"),
    (re.compile(r"^[\[({]"), "write packages with commas between them, without brackets"),
    (re.compile(r"^-"), "write packages on the one line, with commas between them"),
    (re.compile(r"^['\"`]|^[\w.-]+['\"`]$"), "write packages without quotes"),
    (re.compile(r"#"), "comments are not taken; leave out what begins with #"),
    (re.compile(r"^[\w.\[\],-]+\s*=\s*[\w.]"), "an exact version is asked for with two signs, as in package==1.0"),
    (re.compile(r"(==|>=|<=|~=)\s*(latest|newest|any|\*|v\d)"), "name a version such as 1.0, or none for the newest"),
    (re.compile(r"^[\w.-]+([\s;&|+]+[A-Za-z][\w.-]*\s*([<>=!~]=\s*[\w.]+)?)+$"), "put commas between packages"),
)


class UnusableRequirement(ValueError):
    """A requirement that can't be taken, for a ``reason``.

    ``code`` is *malformed* or, for what is more than a package, *refused*.
    """

    def __init__(self, text: str, reason: str, code: str) -> None:
        super().__init__(f"The requirement {text[:LONGEST]!r} in the frontmatter is not a valid one: {reason}.")
        self.code = code
        self.reason = reason


def requirements(frontmatter: Mapping[str, str]) -> list[str]:
    """Returns the packages asked for, as PEP 508 strings in their order, each once.

    The key is ``requirements``, in any case. ``a>=1,<2`` and ``a[x,y]`` stay whole although commas
    also separate packages. A part that is no requirement raises ``UnusableRequirement`` with a sentence. The word
    *none* alone means none, although a package has that name.
    """
    text = frontmatter.get("requirements")
    if text is None:
        text = next((value for key, value in frontmatter.items() if key.lower() == "requirements"), "")
    if text.strip(" ,").lower() == "none":
        return []
    found = {str(requirement(part)): None for part in parts(text)}
    if len(found) > MOST:
        raise UnusableRequirement(text, f"there are {len(found)} of them, and at most {MOST} are taken", "refused")
    return list(found)


def requirement(text: str) -> Requirement:
    """Returns what one requirement asks for: a package by its name, with extras, versions and a marker if it likes.

    Raises ``UnusableRequirement`` for anything else. Addresses, paths and options are refused whether they are
    well-formed or not: they would have the installing program take code from anywhere.
    """
    text = text.strip()
    reason = next((reason for pattern, reason in _REFUSED if pattern.search(text)), None)
    if len(text) > LONGEST:
        reason = f"it is longer than {LONGEST} characters"
    if reason is not None:
        raise UnusableRequirement(text, reason, "refused")
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        instead = next((said for pattern, said in _INSTEAD if pattern.search(text)), "")
        reason = instead or str(error).splitlines()[0].rstrip(".")
        raise UnusableRequirement(text, reason, "malformed") from None
    if found.url is not None:
        raise UnusableRequirement(text, _REFUSED_ADDRESS, "refused")
    try:
        if found.marker is not None:
            found.marker.evaluate()
    except (UndefinedEnvironmentName, UndefinedComparison, InvalidVersion) as error:
        raise UnusableRequirement(text, str(error).splitlines()[0].rstrip("."), "malformed") from None
    return found


def parts(text: str) -> list[str]:
    """Returns the parts of a ``requirements`` value: split at commas, but not in brackets, quotes or a specifier."""
    found = [""]
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
            found.append("")
        else:
            found[-1] += character
    joined: list[str] = []
    for part in filter(None, (part.strip() for part in found)):
        if joined and part.startswith(_CONTINUES):
            joined[-1] += f",{part}"
        else:
            joined.append(part)
    return joined
