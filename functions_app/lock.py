"""A lock as uv writes it: exact versions with the hashes of their files. Plain Python.

What is not such a line is refused, because a lock may come from somebody else: options could name other indexes, files
and folders.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from packaging.markers import InvalidMarker, Marker
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

LONGEST = 8 * 1024 * 1024
"""Characters of a lock that is read."""

LONGEST_LINE = 200_000
"""Characters of one package with all its hashes."""

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9.!+_-]+)\s*(?:;(?P<marker>[^\n]*))?"
)
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Pin(NamedTuple):
    """One package of a lock: normalised name, version, the SHA-256 of each file that it may come as, its marker."""

    name: NormalizedName
    version: Version
    hashes: frozenset[str]
    marker: Marker | None

    @property
    def is_wanted(self) -> bool:
        """Whether it belongs on this platform and Python."""
        return self.marker is None or self.marker.evaluate()


def read(text: str) -> list[Pin]:
    """Returns what a lock pins. Raises ``ValueError`` with a sentence for anything else in it."""
    if len(text) > LONGEST:
        raise ValueError(f"The lock is longer than the {LONGEST} characters that are read.")
    found: dict[tuple[str, str], Pin] = {}
    for line in _logical_lines(text):
        pin = _pin(line)
        if found.setdefault((pin.name, str(pin.marker)), pin) is not pin:
            raise ValueError(f"The lock pins {pin.name} twice.")
    return list(found.values())


def _pin(line: str) -> Pin:
    try:
        if len(line) > LONGEST_LINE:
            raise ValueError
        # Split rather than matched as a whole: that could take hours with a line made for it.
        wanted, *hashes = line.split("--hash=")
        match = _PIN.fullmatch(wanted.rstrip())
        apart = all(part[-1:].isspace() for part in (wanted, *hashes[:-1]))
        found = [_HASH.fullmatch(part.rstrip()) for part in hashes]
        if match is None or not found or not apart or None in found:
            raise ValueError
        marker = match["marker"]
        return Pin(
            canonicalize_name(match["name"]),
            Version(match["version"]),
            frozenset(one[1] for one in found if one is not None),
            None if marker is None else Marker(marker.strip()),
        )
    except (ValueError, InvalidMarker, InvalidVersion):
        raise ValueError(f"The lock has a line that is no exact version with SHA-256 hashes: {line[:100]!r}.") from None


def _logical_lines(text: str) -> list[str]:
    """Returns the lines without comments, each with those that it goes on in."""
    lines: list[str] = []
    goes_on = False
    for raw in re.split(r"[\r\n]", text):
        line = raw.strip()
        if line.startswith("#"):
            continue
        ends = not line.endswith("\\")
        part = line.removesuffix("\\").strip()
        if goes_on and lines:
            lines[-1] = f"{lines[-1]} {part}".strip()
            if len(lines[-1]) > LONGEST_LINE:
                raise ValueError(f"The lock has a line that is longer than {LONGEST_LINE} characters.")
        elif part:
            lines.append(part)
        else:
            continue
        goes_on = not ends
    return lines
