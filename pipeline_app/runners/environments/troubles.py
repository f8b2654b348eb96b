"""What can go wrong with packages, as sentences that an administrator can act on.

uv explains itself to a person at a terminal; here its explanation is told apart into a few kinds (``CODES``), each with
what to do about it. The explanation itself stays in the message where it says more than we can, and in the log always.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from django.conf import settings

from functions_app.runtime import RequirementError

CODES: Final = {
    "malformed": "it is no requirement as PEP 508 writes it",
    "refused": "it is one, but of a kind that is not taken: an address, a path, an option",
    "not_allowed": "FUNCTIONS_PACKAGES forbids it",
    "base_missing": "the base packages are not installed",
    "unknown_package": "no package of that name where packages come from",
    "no_wheel": "nothing built for this Python and this platform",
    "conflict": "no versions that go together",
    "network": "the index cannot be reached, or answers with an error",
    "hash": "a file is not the one that was locked",
    "disk_full": "no room on the disk",
    "too_large": "more than FUNCTIONS_BUILD_MB",
    "no_room": "all sets together take more than FUNCTIONS_ENVIRONMENTS_MB",
    "timeout": "longer than FUNCTIONS_BUILD_SECONDS",
    "stopped": "the server stopped meanwhile; to be taken up again",
    "uv": "anything else that uv says",
}

# Lines of uv's message that an error repeats; resolver explanations can be pages long.
MESSAGE_LINES = 12

_NOT_FOUND = re.compile(r"(\S+) was not found in the (?:package registry|provided package locations|cache)")
_NO_WHEEL = re.compile(r"no usable wheels|no wheels with a matching|Wheels are required for|no wheels are usable")
_WHEEL_NAMES = re.compile(
    r"(?:all versions of )?([\w.-]+)(?:[<>=!~,][^\s]*)? ha(?:s|ve) no (?:usable wheels|wheels with a matching)"
)
_WHEEL_NAMES_OF_SEVERAL = re.compile(
    r"all of:\s+([\w.-]+)[^\n]*\n(?:\s+\1[^\n]*\n)*\s*have no (?:usable wheels|wheels with a matching)"
)
_UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|dns error|tcp connect error|operation timed out|Request failed after"
    r"|Network unreachable|network was disabled|Could not connect|tls handshake|invalid peer certificate",
    re.IGNORECASE,
)
_NOT_LET_IN = re.compile(r"\b(401 Unauthorized|403 Forbidden|407 Proxy Authentication Required)")
_FROM_ADDRESS = re.compile(r"for package `([^`]+)`\s+(?:cause: )?Package `([^`]+)` was included as a URL dependency")
_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded|os error 122\b", re.IGNORECASE)
_HASH = re.compile(r"hash mismatch", re.IGNORECASE)


def of_uv(returncode: int, log: str, wheels: Path | None = None) -> RequirementError:
    """Returns the error that uv's messages mean; ``wheels`` is the folder that was used in place of an index."""
    if returncode in (-25, 153):  # SIGXFSZ: one file went over the limit
        return too_large(settings.FUNCTIONS_BUILD_MB, log)
    if _FULL.search(log):
        return RequirementError(
            f"The disk is full: there was no room for the packages in {settings.FUNCTIONS_ENVIRONMENTS} or uv's "
            "cache. Make room, then try again.",
            code="disk_full",
            log=log,
        )
    if _HASH.search(log):
        return RequirementError(
            "A package is not the one that was locked: its hash differs. It was replaced where it comes from, or "
            "changed on the way. Find out which, then resolve the requirements anew.\n" + _quoted(log),
            code="hash",
            log=log,
        )
    return _unresolved(log, wheels) or RequirementError(
        f"uv could not do it (it ended with {returncode}):\n" + _quoted(log), code="uv", log=log
    )


def _unresolved(log: str, wheels: Path | None) -> RequirementError | None:
    place = f"the folder {wheels}" if wheels is not None else "the package index"
    unknown = _names(_NOT_FOUND.findall(log))
    if brings := _FROM_ADDRESS.search(log):
        return RequirementError(
            f"{brings[1]} brings {brings[2]} from an address; packages come from the index by name. Ask for another "
            "version of it.",
            code="refused",
            log=log,
        )
    if (_UNREACHABLE.search(log) or _NOT_LET_IN.search(log)) and not (wheels is not None and unknown):
        return _unreachable(log)
    if unknown:
        one = len(unknown) == 1
        return RequirementError(
            f"{listed(unknown)} {'is' if one else 'are'} not in {place}. "
            + (
                "Put the missing wheels there."
                if wheels is not None
                else "Check the spelling, or add the index that has "
            )
            + ("" if wheels is not None else f"{'it' if one else 'them'} (FUNCTIONS_EXTRA_INDEX_URLS)."),
            code="unknown_package",
            log=log,
        )
    if "No solution found" not in log:
        return None
    if _NO_WHEEL.search(log):
        names = _names(_WHEEL_NAMES.findall(log) + _WHEEL_NAMES_OF_SEVERAL.findall(log))
        return RequirementError(
            f"There is no wheel of {listed(names) if names else 'a package'} for this Python and platform, and nothing "
            "is built from source here. Ask for a version that has one, or put a wheel of your own into an index.\n"
            + _quoted(log),
            code="no_wheel",
            log=log,
        )
    return RequirementError("No versions fit together:\n" + _quoted(log), code="conflict", log=log)


def _unreachable(log: str) -> RequirementError:
    if refused := _NOT_LET_IN.search(log):
        said = f"The package index refuses ({refused.group(1)}). Check the user and the password in its address"
    elif answered := re.search(r"HTTP status (?:server|client) error \((\d+[^)]*)\)", log):
        said = f"The package index answers with an error ({answered.group(1)}). Try again later, or check its address"
    elif re.search(r"certificate|tls", log, re.IGNORECASE):
        said = "The certificate of the package index is not trusted. Name your authority's in SSL_CERT_FILE"
    else:
        said = "The package index cannot be reached. Check the network, the proxy (HTTPS_PROXY) and FUNCTIONS_INDEX_URL"
    return RequirementError(f"{said}, then try again.\n" + _quoted(log), code="network", log=log)


def of_system(error: OSError) -> RequirementError:
    """Returns the error for what the system refused while packages were put in place."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RequirementError(
            f"The disk is full: there was no room for the packages in {settings.FUNCTIONS_ENVIRONMENTS}. Make room, "
            "then try again.",
            code="disk_full",
        )
    return RequirementError(
        f"The packages cannot be written to {settings.FUNCTIONS_ENVIRONMENTS}: {error.strerror or error}. Make it "
        "writable for the server, or point FUNCTIONS_ENVIRONMENTS to a writable folder."
    )


def too_large(limit_mb: float, log: str = "") -> RequirementError:
    """Returns the error for packages that need more disk than one set may."""
    return RequirementError(
        f"The packages need more than the {limit_mb:g} MB that one set of packages may have. Ask for fewer, or raise "
        "FUNCTIONS_BUILD_MB.",
        code="too_large",
        log=log,
    )


def timeout(seconds: float, log: str = "") -> RequirementError:
    """Returns the error for work that took too long."""
    return RequirementError(
        f"It was not done within {seconds:g} seconds. Try again; if the network is slow or the packages are large, "
        "raise FUNCTIONS_BUILD_SECONDS.",
        code="timeout",
        log=log,
    )


def stopped(log: str = "") -> RequirementError:
    """Returns the error for work that a stopping server ended."""
    return RequirementError("The server stopped before the packages were installed.", code="stopped", log=log)


def listed(names: Iterable[str]) -> str:
    """Returns names as a sentence lists them."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _names(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.strip("`'\",") for name in found))


def _quoted(log: str) -> str:
    lines = [line for line in log.strip().splitlines() if line.strip() and not line.startswith("Resolved ")]
    lines = [re.sub(r"^(error: No solution found when resolving dependencies)$", "", line) for line in lines]
    lines = [re.sub(r"^\s*(?:error|cause): ", "", line) for line in lines if line]
    shown = lines[:MESSAGE_LINES]
    if len(lines) > len(shown):
        shown.append(f"... ({len(lines) - len(shown)} more lines in the log)")
    return "\n".join(f"  {line.rstrip()}" for line in shown)
