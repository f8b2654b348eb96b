"""Fetches one state of a git repository into a folder of its own, with the system's ``git``.

The repository is not trusted: no hooks, no filters, no submodules, no configuration but ours, no protocol but those
below, and nobody is asked for a password. Nothing of what was fetched is run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from functions_app import programs

PROTOCOLS = ("https", "ssh", "file")
SECONDS = 300.0
LINES = 5
TOO_LONG = "git took too long, so it was stopped."

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# As git reads it: user@host:path without a slash before the colon.
_SSH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!/?-)[^:]")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*\Z")

CONFIGURATION = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "core.attributesFile=/dev/null",
    "protocol.allow=never",
    *(f"protocol.{name}.allow=always" for name in PROTOCOLS),
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "credential.helper=",
    "transfer.fsckObjects=true",
    "gc.auto=0",
)
PASSED_ON = (
    "PATH", "HOME", "SSH_AUTH_SOCK", "TMPDIR", "LD_LIBRARY_PATH",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE",
)  # fmt: skip


class GitError(Exception):
    """The repository cannot be had; the message says why, without passwords."""


def is_repository(source: str) -> bool:
    """Whether a source is the address of a repository, or a bare one on this machine, and not a folder of files."""
    if _URL.match(source) or (_SSH.match(source) and not os.path.lexists(source)):
        return True
    path = Path(source)
    return path.is_dir() and (path / "HEAD").is_file() and (path / "objects").is_dir()


@contextmanager
def checked_out(source: str, ref: str = "", subfolder: str = "", seconds: float = SECONDS) -> Iterator[Path]:
    """Holds a folder with the files of a repository as ``ref`` (a branch, tag or commit; its own HEAD) has them.

    ``source`` is a URL (https, ssh, file), ``user@host:path``, or a path. Yields the ``subfolder`` of it. Raises
    ``GitError``; also when it takes longer than ``seconds`` in all.
    """
    address = _address(source)
    if ref and (not _REF.match(ref) or ".." in ref or "@{" in ref):
        raise GitError(f"{ref!r:.100} is no name of a branch, tag or commit.")
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="functions-git-") as name:
        folder = Path(name).resolve()
        _git(["init", "--quiet", "--template=", "."], folder, deadline)
        fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", address, ref or "HEAD"]
        _git(fetch, folder, deadline)
        _git(["checkout", "--quiet", "--detach", "FETCH_HEAD"], folder, deadline)
        yield _inside(folder, subfolder)


def _address(source: str) -> str:
    if scheme := _URL.match(source):
        if scheme[1].lower() not in PROTOCOLS:
            raise GitError(f"Repositories are fetched over {', '.join(PROTOCOLS)}, not over {scheme[1]}.")
        return source
    if _SSH.match(source) and not os.path.lexists(source):
        return source
    path = Path(source)
    if not path.is_dir():
        raise GitError(f"{source} is no folder and no address of a repository.")
    return path.resolve().as_uri()


def _inside(folder: Path, subfolder: str) -> Path:
    found = (folder / subfolder).resolve()
    if Path(subfolder).is_absolute() or not found.is_relative_to(folder) or ".git" in found.relative_to(folder).parts:
        raise GitError(f"The subfolder {subfolder!r:.100} leads out of the repository.")
    if not found.is_dir():
        raise GitError(f"The repository has no folder {subfolder!r:.100}.")
    return found


def _git(arguments: list[str], folder: Path, deadline: float) -> None:
    program = shutil.which("git")
    if program is None:
        raise GitError("The program git is not installed on this machine.")
    left = deadline - time.monotonic()
    if left <= 0:
        raise GitError(TOO_LONG)
    command = [program, *(part for pair in CONFIGURATION for part in ("-c", pair)), *arguments]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that its helpers end with it
    ) as process:
        try:
            _, said = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            raise GitError(TOO_LONG) from None
        finally:
            if process.poll() is None:
                programs.end(process)
    if process.returncode:
        lines = [programs.without_passwords(line.strip()) for line in said.splitlines() if line.strip()][-LINES:]
        raise GitError(f"git {arguments[0]} failed: {' '.join(lines)}")


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C",
    }
