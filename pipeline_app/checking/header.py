"""What is to be said about a function's frontmatter and the packages it asks for: plain text, read by the server."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from functions_app import frontmatter
from functions_app.frontmatter import Header, Line
from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from pipeline_app.runners.environments.names import mistaken
from pipeline_app.worker.checking.findings import CODES, Finding, anywhere

READ = (
    "title", "description", "version", "requirements", "icon_url", "funding_url", "required_open_webui_version",
)  # fmt: skip
"""Keys that somebody reads, here or in Open WebUI."""

OURS = frozenset(("open-webui", "python"))
"""What a requirement may not bring, because this server does."""

_NEARLY_A_KEY = re.compile(r"^\s*([A-Za-z][A-Za-z_ -]*[A-Za-z])(\s*):(\s|$)")


def of_source(source: str) -> Iterator[Finding]:
    """Yields what is wrong with the frontmatter of a source and with its requirements."""
    header = frontmatter.header(source)
    if header is None:
        yield anywhere("missing-title", "There is no frontmatter, so the function has no title: begin with " + _EXAMPLE)
        return
    if not header.is_strict:
        said = "The frontmatter does not begin on line 1 with three double quotes alone; Open WebUI does not read it."
        yield _on(Line(header.opening, 0, ""), "frontmatter-position", said)
    yield from _lines(header)
    pairs = frontmatter.read(source)
    if not pairs.get("title"):
        yield _on(Line(header.opening, 0, ""), "missing-title", "The frontmatter has no title: add a line title: ...")
    found = _value_of(header, "required_open_webui_version")
    if found is not None:
        line, value, at = found
        try:
            Version(value)
        except InvalidVersion:
            said = f"required_open_webui_version is {value[:50]!r}, which is no version such as 0.5.0."
            yield _on(line, "frontmatter-version", said, at, len(value))
    found = _value_of(header, "requirements")
    if found is not None:
        yield from _requirements(*found)


_EXAMPLE = 'three double quotes, a line "title: ...", and three double quotes.'


def _lines(header: Header) -> Iterator[Finding]:
    keys: dict[str, int] = {}
    lowered = {pair[0] for line in header.lines if (pair := frontmatter.pair(line.text)) and pair[0] in READ}
    for index, line in enumerate(header.lines):
        pair = frontmatter.pair(line.text)
        if pair is None:
            yield from _no_pair(line, header.lines[index - 1] if index else None)
            continue
        key, value = pair
        lower = key.lower()
        start = len(line.text) - len(line.text.lstrip())
        if key in keys and key in READ:
            said = f"{key} stands on line {keys[key]} as well; this one counts."
            yield _on(line, "frontmatter-duplicate", said, start, len(key))
        keys[key] = line.number
        if key != lower and lower in READ and lower not in lowered:
            lowered.add(lower)
            read = "this server" if lower == "requirements" else "nobody"
            said = f"Keys are written in lower case: {key} is read by {read}, and not by Open WebUI. Write {lower}."
            severity = "" if lower == "requirements" else "warning"
            yield _on(line, "frontmatter-case", said, start, len(key), severity)
        elif key == lower and lower not in READ and value and (near := difflib.get_close_matches(lower, READ, 1, 0.87)):
            said = f"{key} is read by nobody. Did you mean {near[0]}?"
            yield _on(line, "frontmatter-key", said, start, len(key))
    if header.is_strict and header.closing is not None and (lost := frontmatter.pair(header.closing.text)):
        said = f"{lost[0]} stands on the line of the closing quotes and is not read: close on a line of its own."
        yield _on(header.closing, "frontmatter-lost", said)


def _no_pair(line: Line, before: Line | None) -> Iterator[Finding]:
    match = _NEARLY_A_KEY.match(line.text)
    key = re.sub(r"[ -]+", "_", match.group(1).lower()) if match else ""
    if match and key in READ:
        spaced = key == match.group(1).lower()
        why = "there is space before its colon" if spaced else "a key has letters and underscores only"
        said = f"The line is not read, because {why}. Write {key}: ..."
        yield _on(line, "frontmatter-key", said, match.start(1), len(match.group(1)))
    elif before is not None and line.text.strip():
        pair = frontmatter.pair(before.text)
        if pair and pair[0].lower() == "requirements" and (pair[1].endswith(",") or not pair[1]):
            yield _on(line, "frontmatter-lost", "A value ends with its line: put all requirements on the one line.")


def _value_of(header: Header, key: str) -> tuple[Line, str, int] | None:
    """Returns the line that counts for a key, its value, and where in the line that begins."""
    found = None
    for line in header.lines:
        pair = frontmatter.pair(line.text)
        if pair is not None and (pair[0] == key or (pair[0].lower() == key and found is None)):
            found = (line, pair[1], line.text.index(pair[1], line.text.index(":") + 1) if pair[1] else len(line.text))
    return found


def _requirements(line: Line, value: str, at: int) -> Iterator[Finding]:
    seen: set[str] = set()
    end = 0
    for part in frontmatter.parts(value):
        begin = value.find(part[:1] + part[1:].split(",")[0], end)
        begin = begin if begin >= 0 else end
        end = min(len(value), begin + len(part))
        for code, said, severity in _requirement(part, seen):
            yield _on(line, code, said, at + begin, len(part), severity)


def _requirement(part: str, seen: set[str]) -> Iterator[tuple[str, str, str]]:
    try:
        wanted = frontmatter.requirement(part)
    except frontmatter.UnusableRequirement as error:
        yield "invalid-requirement", f"{part[:100]!r} is no requirement such as package>=1.0: {error.reason[:300]}.", ""
        return
    name = canonicalize_name(wanted.name)
    if "," in part:
        said = f"Open WebUI splits {part[:100]!r} at its comma; write it without one if it is to work there too."
        yield "requirement-comma", said, ""
    if name in seen:
        yield "duplicate-requirement", f"{wanted.name} is required twice.", ""
        return
    seen.add(name)
    if name in OURS or name.replace("-", "_") in sys.stdlib_module_names:
        what = "this server" if name in OURS else "Python itself"
        yield "needless-requirement", f"{wanted.name} comes with {what}: leave it out.", ""
        return
    if package := environments.meant(name):
        yield "mistaken-requirement", mistaken(wanted.name, package), ""
    try:
        environments.check_asked(part)
    except RequirementError as error:
        yield "unavailable-requirement", str(error), ""


def of_failure(source: str, failure: str) -> Iterator[Finding]:
    """Yields that the packages of a source could not be had when that was last tried, for this reason."""
    header = frontmatter.header(source)
    found = _value_of(header, "requirements") if header is not None else None
    if failure and found is not None:
        line, value, at = found
        said = f"When this was last tried, it could not be installed. {failure}"
        yield _on(line, "unavailable-requirement", said, at, len(value))


def awaited(source: str) -> list[str]:
    """Returns the requirements that are installed only when the function is published."""
    found = []
    for part in frontmatter.parts(_text(frontmatter.read(source))):
        try:
            if not environments.is_met(part):
                found.append(part)
        except RequirementError:
            continue  # which is said elsewhere
    return found


def packages(source: str) -> list[str]:
    """Returns the normalised names of the packages that a source asks for; malformed ones are left out."""
    return list(dict.fromkeys(_names(frontmatter.parts(_text(frontmatter.read(source))))))


def _text(pairs: dict[str, str]) -> str:
    return pairs.get("requirements") or next((v for k, v in pairs.items() if k.lower() == "requirements"), "")


def _names(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        try:
            yield canonicalize_name(Requirement(part).name)
        except InvalidRequirement:
            continue


def _on(line: Line, code: str, said: str, at: int = 0, length: int | None = None, severity: str = "") -> Finding:
    """Returns a finding about a part of a line, all of it unless told."""
    begin = line.offset + at + 1
    end = line.offset + len(line.text) + 1 if length is None else begin + length
    return Finding(code, severity or CODES[code].severity, said, line.number, begin, line.number, max(begin, end))
