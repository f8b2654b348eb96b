"""The wheels of a lock as files, for servers that have no index: each found through uv, fetched, and verified."""

from __future__ import annotations

import base64
import hashlib
import http.client
import ssl
import tomllib
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit

from django.conf import settings
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from functions_app import lock as locks
from functions_app import programs
from functions_app.runtime import RequirementError
from pipeline_app.runners.environments import troubles, uv
from pipeline_app.runners.environments.base import INSTALL_COMMAND
from pipeline_app.runners.environments.uv import Budget, Say

AT_ONCE = 4
TRIES = 3
SECONDS = 60.0
"""How long the network may be silent."""
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file that a lock allows, and where it is."""

    name: str
    url: str
    sha256: str


def fetch(lock: str, folder: Path, say: Say = uv.silent) -> list[Path]:
    """Puts one wheel for each package of a lock into a folder, that which fits this Python and platform best.

    Raises ``RequirementError``.
    """
    budget = Budget()
    found = _found(lock, budget, say)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        fetched = []
        for path in pool.map(lambda wheel: _fetch(wheel, folder, budget), found):
            say(f"Fetched {path.name}")
            fetched.append(path)
        return fetched
    finally:
        pool.shutdown(cancel_futures=True)


def _found(lock: str, budget: Budget, say: Say) -> list[Wheel]:
    """Returns the wheels that are to be had of what a lock pins for this platform."""
    try:
        pins = [pin for pin in locks.read(lock) if pin.is_wanted]
    except ValueError as error:
        raise RequirementError(str(error), code="malformed") from None
    if not pins:
        return []
    asked = "".join(f"{pin.name}=={pin.version}\n" for pin in pins)
    told = uv.run(
        ["pip", "compile", "-", "--format", "pylock.toml", "--no-deps", "--only-binary", ":all:", "--no-header",
         "--no-annotate", "--quiet"],
        budget=budget, say=say, given=asked,
    )  # fmt: skip
    offered = {package["name"]: list(_wheels_of(package)) for package in tomllib.loads(told).get("packages", [])}
    order = {tag: place for place, tag in enumerate(sys_tags())}
    chosen = []
    for pin in pins:
        fitting = [
            (min(order[tag] for tag in tags if tag in order), wheel)
            for wheel, tags in offered.get(pin.name, [])
            if wheel.sha256 in pin.hashes and not tags.isdisjoint(order)
        ]
        if not fitting:
            raise RequirementError(
                f"The wheel of {pin.name} {pin.version} that was locked is not to be had any more where packages come "
                f"from. Resolve the requirements anew: {INSTALL_COMMAND} --upgrade.",
                code="no_wheel",
            )
        chosen.append(min(fitting, key=lambda one: one[0])[1])
    return chosen


def _wheels_of(package: dict[str, Any]) -> Iterator[tuple[Wheel, frozenset[Any]]]:
    for told in package.get("wheels", []):
        url = told.get("url") or Path(told.get("path", "")).resolve().as_uri()
        name = told.get("name") or unquote(urlsplit(url).path.rpartition("/")[2])
        try:
            tags = parse_wheel_filename(name)[3]
        except InvalidWheelFilename:
            continue
        yield Wheel(name, url, told.get("hashes", {}).get("sha256", "")), tags


def _fetch(wheel: Wheel, folder: Path, budget: Budget) -> Path:
    target = folder / wheel.name
    for attempt in range(TRIES):
        try:
            digest = _copy(wheel.url, target, budget)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
            if attempt + 1 == TRIES or (isinstance(error, HTTPError) and error.code < 500):
                raise _failed(wheel, error) from error
    if digest != wheel.sha256:
        raise RequirementError(
            f"{wheel.name} is not the file that was locked: its hash differs. It was replaced where it comes from, or "
            "changed on the way.",
            code="hash",
        )
    return target


def _failed(wheel: Wheel, error: Exception) -> RequirementError:
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return troubles.of_system(error)
    host = urlsplit(wheel.url).hostname or "the index"
    reason = programs.without_passwords(str(getattr(error, "reason", None) or error))
    return RequirementError(f"{wheel.name} cannot be fetched from {host}: {reason}. Try again.", code="network")


def _copy(url: str, target: Path, budget: Budget) -> str:
    """Writes what an address gives to a file; returns its SHA-256."""
    digest = hashlib.sha256()
    left = int(settings.FUNCTIONS_BUILD_MB * 1024 * 1024)
    with _opened(url) as source, target.open("wb") as file:
        while chunk := source.read(CHUNK):
            budget.check()
            left -= len(chunk)
            if left < 0:
                raise troubles.too_large(settings.FUNCTIONS_BUILD_MB)
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _opened(url: str) -> IO[bytes]:
    """Opens an address as uv would: through its proxies, with its certificates and its passwords for the index."""
    if urlsplit(url).scheme == "file":
        return open(urllib.request.url2pathname(urlsplit(url).path), "rb")
    environment = uv.environment()
    plain, credentials = _without_credentials(url)
    request = urllib.request.Request(plain, headers={"User-Agent": "webui-functions"})
    if credentials := credentials or _credentials_for(plain, environment):
        # Not sent on where the index redirects to.
        token = base64.b64encode(credentials.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    context = ssl.create_default_context(cafile=environment.get("SSL_CERT_FILE") or None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    opened: IO[bytes] = opener.open(request, timeout=SECONDS)
    return opened


def _without_credentials(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    credentials, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)) if at else url, unquote(credentials)


def _credentials_for(url: str, environment: dict[str, str]) -> str:
    """Returns ``user:password`` as the address of an index on the same host has it; empty without."""
    told = " ".join(environment.get(name, "") for name in ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"))
    for index in told.split():
        address = index.partition("=")[2] if "=" in index.partition("://")[0] else index
        plain, credentials = _without_credentials(address)
        if credentials and urlsplit(plain)[:2] == urlsplit(url)[:2]:
            return credentials
    return ""
