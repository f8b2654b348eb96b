"""Text files fetched from the internet, for an author who gives an address.

The server does the fetching, so an address must not lead into its own network: each name is looked up once, all its
addresses are checked by the rules for functions' own connections, and the connection goes to an address that was
checked. So it is with every redirect. ``FUNCTIONS_LOAD_FROM`` lists hosts that are allowed all the same.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from django.conf import settings

from pipeline_app.runners.addresses import Address, Rules, literal, plain_name
from pipeline_app.runners.resolver import asked
from pipeline_app.worker.threads import Threads

MOST_BYTES = 2 * 1024 * 1024
SECONDS = 20.0
"""For all of it: names, connections, redirects, body."""
REDIRECTS = 5
MOST_HEAD = 64 * 1024
LONGEST_URL = 2048

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_GITHUB = re.compile(r"https?://(?:www\.)?github\.com/([^/?#]+)/([^/?#]+)/(tree|blob)/([^/?#]+)(?:/([^?#]*))?", re.I)
_FOLDER_FILES = frozenset({"main", "index", "__init__"})


class NotAllowed(Exception):
    """An address that is not fetched from. ``str()`` is a sentence for the author."""


class FetchFailed(Exception):
    """An address that gave no text. ``str()`` is a sentence for the author and has nothing of what was answered."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file, and the name that its address suggests for a function."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class _Target:
    """Where one request goes."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> _Target:
        """Returns the parts of an address. Raises ``NotAllowed`` for one that nothing is fetched from."""
        if len(url) > LONGEST_URL:
            raise NotAllowed(f"The address is longer than {LONGEST_URL} characters.")
        if any(ord(letter) < 33 or ord(letter) == 127 for letter in url):
            raise NotAllowed("The address has spaces or control characters; write them as %20 and the like.")
        try:
            parts = urlsplit(url)
            number = parts.port
            path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
            query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]")
        except ValueError as error:
            raise NotAllowed(f"The address is not a valid one: {error}.") from None
        if parts.scheme not in _PORTS:
            raise NotAllowed("The address must begin with https:// or http://.")
        if "@" in parts.netloc:
            raise NotAllowed("The address must not have a user name or password in it.")
        host = parts.hostname or ""
        if (address := literal(host)) is not None:
            host = str(address)
        elif not (host := plain_name(host)):
            raise NotAllowed("The address names no host that could be asked.")
        if number == 0:
            raise NotAllowed("Port 0 is none that could be connected to.")
        return cls(parts.scheme, host, number or _PORTS[parts.scheme], f"{path}?{query}" if query else path)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def raw_address(url: str) -> str:
    """Returns where the file is that a page of GitHub shows, ``main.py`` for a folder; other addresses unchanged."""
    page = _GITHUB.match(url.strip())
    if page is None:
        return url.strip()
    owner, repository, kind, ref, path = page.groups()
    path = (path or "").strip("/")
    if kind.lower() == "tree":
        path = f"{path}/main.py" if path else "main.py"
    return f"https://raw.githubusercontent.com/{owner}/{repository}/{ref}/{path}"


def name_of(url: str) -> str:
    """Returns the name that an address suggests: its file's, or its folder's where the file is ``main.py``,
    ``index.py`` or ``__init__.py``."""
    parts = [part for part in urlsplit(url).path.split("/") if part]
    name = parts[-1] if parts else ""
    if name.endswith(".py"):
        name = name[:-3]
        if name in _FOLDER_FILES and len(parts) > 1:
            name = parts[-2]
    return name or "function"


async def load(url: str) -> Loaded:
    """Fetches a text file. Raises ``NotAllowed`` and ``FetchFailed``."""
    address = raw_address(url)
    target = _Target.parse(address)
    try:
        async with asyncio.timeout(SECONDS):
            content = await _follow(target)
    except TimeoutError:
        raise FetchFailed(f"{target.authority} gave no whole answer within {SECONDS:g} s.") from None
    return Loaded(name_of(address), content)


async def _follow(target: _Target) -> str:
    rules = Rules("public", settings.FUNCTIONS_LOAD_FROM)
    for _ in range(REDIRECTS + 1):
        status, headers, body = await _get(target, rules)
        if status not in _REDIRECTS:
            return _text(target, status, headers, body)
        location = headers.get("location", "")
        if not location:
            raise FetchFailed(f"{target.authority} leads elsewhere ({status}), but does not say where.")
        try:
            joined = urljoin(target.url, _ascii(location))
        except ValueError:
            joined = location
        following = _Target.parse(joined)
        if target.scheme == "https" and following.scheme == "http":
            raise NotAllowed(f"{target.authority} leads from https:// to http://, where anybody could change the code.")
        target = following
    raise FetchFailed(f"The address leads elsewhere more than {REDIRECTS} times.")


def _ascii(url: str) -> str:
    """Returns a header's text, which came as Latin-1, as the UTF-8 that it most likely is."""
    try:
        return url.encode("latin-1").decode()
    except UnicodeError:
        return url


async def _get(target: _Target, rules: Rules) -> tuple[int, Mapping[str, str], bytes]:
    """Asks once. Returns status, headers by their lower-case names, and the body where the status is 200."""
    reader, writer = await _connected(target, await _checked(target, rules))
    try:
        request = (
            f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: webui-functions\r\n"
            "Accept: text/x-python, text/plain, */*;q=0.5\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        )
        writer.write(request.encode("ascii"))
        await writer.drain()
        status, headers = await _head(reader)
        body = await _body(reader, headers) if status == 200 else b""
    except (OSError, ValueError, EOFError, http.client.HTTPException, asyncio.LimitOverrunError) as error:
        told = f" ({type(error).__name__})" if not isinstance(error, EOFError) else ""
        raise FetchFailed(f"{target.authority} did not answer as a web server does{told}.") from None
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
    return status, headers, body


async def _checked(target: _Target, rules: Rules) -> list[Address]:
    """Returns the addresses of a host, all of which may be connected to. Raises ``NotAllowed`` and ``FetchFailed``."""
    address = literal(target.host)
    addresses = [address] if address is not None else await _look_up(target.host)
    if not addresses:
        raise FetchFailed(f"There is no host named {target.host}, or its name server does not answer.")
    names = () if address is not None else (target.host,)
    for found in addresses:
        # A name server of somebody's own must not be able to mix an inner address among its public ones.
        if reason := rules.refused(found, target.port, names):
            raise NotAllowed(
                f"{target.authority} leads to {reason}, where this server does not fetch from. An administrator may "
                "allow the host (FUNCTIONS_LOAD_FROM)."
            )
    return addresses


_threads = Threads("names to load from", 4)


async def _look_up(name: str) -> list[Address]:
    """Asks for a name in threads of this module's own, which a slow name server may hold without harm to others."""
    try:
        return await asked(_threads, name)
    except RuntimeError:
        raise FetchFailed(f"{name} was not looked up: the server can start no further thread.") from None


async def _connected(target: _Target, addresses: list[Address]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to the first of the addresses that takes the connection."""
    encrypted: dict[str, Any] = {"ssl": _context(), "server_hostname": target.host} if target.scheme == "https" else {}
    failure: Exception | None = None
    for address in addresses:
        try:
            return await asyncio.open_connection(str(address), target.port, limit=MOST_HEAD, **encrypted)
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed(f"The certificate of {target.authority} is not valid: {error.verify_message}.") from None
        except (OSError, ssl.SSLError) as error:
            failure = error
    told = f" ({failure.strerror})" if isinstance(failure, OSError) and failure.strerror else ""
    raise FetchFailed(f"{target.authority} does not take connections{told}.")


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Returns status and headers; informational answers before the real one are passed over."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        found = re.match(rb"HTTP/1\.[01] ([1-5]\d\d)(?: |$)", line)
        if found is None:
            raise ValueError("no status line")
        status = int(found.group(1))
        if status >= 200:
            headers = http.client.parse_headers(BytesIO(rest))
            return status, {name.lower(): value for name, value in headers.items()}


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """Returns the whole body. Raises ``FetchFailed`` when it is larger than what is fetched."""
    body = bytearray()

    async def take(wanted: int) -> None:
        _bound(len(body) + wanted)
        body.extend(await reader.readexactly(wanted))

    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise FetchFailed("The answer is compressed although that was not asked for.")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while length := _chunk_length(await reader.readuntil(b"\r\n")):
            await take(length)
            await reader.readexactly(2)
    elif (announced := headers.get("content-length")) is not None:
        if re.fullmatch("[0-9]{1,15}", announced) is None:
            raise ValueError("no length")
        await take(int(announced))
    else:
        while piece := await reader.read(65536):
            body.extend(piece)
            _bound(len(body))
    return bytes(body)


def _chunk_length(line: bytes) -> int:
    found = re.match(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?\r\n\Z", line)
    if found is None:
        raise ValueError("no length of a chunk")
    return int(found.group(1), 16)


def _bound(size: int) -> None:
    if size > MOST_BYTES:
        raise FetchFailed(f"The file is larger than the {MOST_BYTES // (1024 * 1024)} MB that are fetched.")


def _text(target: _Target, status: int, headers: Mapping[str, str], body: bytes) -> str:
    if status != 200:
        reason = http.client.responses.get(status, "")
        raise FetchFailed(f"{target.authority} answered {status} {reason}".rstrip() + " instead of the file.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "text/html":
        raise FetchFailed("The address shows a web page, not a file of code; give the address of the raw file.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FetchFailed(f"The file is not UTF-8 text ({error.reason} at byte {error.start}).") from None
    if "\0" in text:
        raise FetchFailed("The file has NUL characters in it, so it is not a text of code.")
    return text
