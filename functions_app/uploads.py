"""What an upload is called and what it is: nothing that a client says of it is believed.

Plain Python. The type is read from the first bytes, then from the name; only what those bytes show to be a picture,
a sound or a film is ever shown by a browser inside a page.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

NAME_LENGTH = 200
HEAD = 4096
"""How many bytes of an upload tell what it is."""
UNKNOWN = "application/octet-stream"
NO_NAME = "file"

JOINERS = "\u200c\u200d"
"""Invisible, but part of words in some scripts and of emoji."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"avif": "image/avif", b"heic": "image/heic", b"M4A ": "audio/mp4", b"qt  ": "video/quicktime"}

SHOWN = frozenset(
    {kind for _, kind in _SIGNATURES if kind.startswith(("image/", "audio/", "video/"))}
    | {"image/webp", "image/avif", "audio/wav", "audio/mp4", "video/mp4"}
)
"""Types that a browser may show: none of them can hold a script."""

_CONTAINERS = frozenset({"application/zip", "application/gzip"})
_names = mimetypes.MimeTypes()  # Python's own table: the same on every machine
for _extension, _kind in {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".epub": "application/epub+zip",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".jsonl": "application/jsonl",
    ".ts": "text/plain",  # a program far more often than a film
    ".log": "text/plain",
}.items():
    _names.add_type(_kind, _extension)


def clean_name(name: str) -> str:
    """Returns the name of a file without folders, control characters and marks that turn text around.

    A name that is too long loses its middle, never its extension; one of which nothing is left is ``file``.
    """
    name = re.split(r"[/\\]", name)[-1]
    name = unicodedata.normalize("NFC", name)
    name = "".join(c for c in name if c in JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    name = name.strip(" ").rstrip(".")
    stem, dot, extension = name.rpartition(".")
    if len(name) > NAME_LENGTH:
        short = dot and len(extension) <= 20
        name = f"{stem[: NAME_LENGTH - 21]}.{extension}" if short else name[:NAME_LENGTH]
    return name if name.strip(JOINERS + ".") else NO_NAME


def kind_of(name: str, head: bytes) -> str:
    """Returns the media type of a file from its cleaned name and its first bytes."""
    shown = _shown_by(head)
    named = _names.guess_type(name.lower(), strict=True)[0] or ""
    if shown in _CONTAINERS:
        return named if named.startswith("application/") else shown
    if shown:
        return shown
    text = _is_text(head)
    if named and named.startswith("text/"):
        return named if text else UNKNOWN
    if named and named not in SHOWN and named != "application/pdf":
        return named
    return "text/plain" if text and not named else UNKNOWN


def _shown_by(head: bytes) -> str:
    """Returns the type that the first bytes show; empty when they show none."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:2] == b"BM" and _is_text(head):
        return ""  # two letters that many a text begins with
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), "")


def _is_text(head: bytes) -> bool:
    """Whether the first bytes are UTF-8 text; the last character may be cut."""
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) >= HEAD and error.start >= len(head) - 3
    return True


def is_allowed(name: str, kind: str, allowed: Iterable[str]) -> bool:
    """Whether a list takes a file: ``image/*`` and ``text/plain`` go by type, ``.pdf`` by name; empty takes all."""
    wanted = [entry.strip().lower() for entry in allowed if entry.strip()]
    family = kind.partition("/")[0] + "/*"
    return not wanted or any(
        name.lower().endswith(entry) if entry.startswith(".") else entry in (kind, family, "*/*") for entry in wanted
    )


def disposition(name: str, kind: str, *, download: bool = False) -> str:
    """Returns the ``Content-Disposition`` (RFC 6266): in the page for what ``SHOWN`` holds, else as a download."""
    how = "inline" if kind in SHOWN and not download else "attachment"
    plain = re.sub(r"[^A-Za-z0-9 !#$&()+,.;=@^_`{}~\[\]-]", "_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{how}; filename="{plain}"{extended}'
