"""A bundle: functions, the locks of their packages and all wheels in one archive, for a server without an index.

It is a plain tar file, neither compressed nor extended: ``bundle.json``, which names everything else with its SHA-256,
``functions.json`` as exports have it, ``locks/<SHA-256>`` and ``wheels/<SHA-256>``. Whoever reads it writes files under
names of its own, takes ordinary members in just this order, and nothing whose hash is another.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ValidationError
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from functions_app import lock as locks
from functions_app.exchange.entries import MOST, Entry, Problem, Read, read, read_export
from functions_app.exchange.files import EXPORT_BYTES, open_ordinary
from functions_app.runtime import Packed

Json = dict[str, Any]

FORMAT = "webui-functions bundle"
VERSION = 1
INDEX, FUNCTIONS = "bundle.json", "functions.json"
INDEX_BYTES = 16 * 1024 * 1024
BLOCK = tarfile.BLOCKSIZE
CHUNK = 1024 * 1024
BASE = "base"
"""The kind of the set that is the base packages themselves."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,240}\.whl")


@dataclass(slots=True)
class Bundle:
    """What a bundle holds: an export, and for the ids of functions the packages that they were locked to."""

    functions: Any
    packages: dict[str, Packed] = field(default_factory=dict)
    base: Packed | None = None


def is_bundle(path: Path) -> bool:
    """Whether an ordinary file begins as a bundle does."""
    try:
        with open_ordinary(path) as file:
            return file.read(len(INDEX) + 1) == INDEX.encode() + b"\0"
    except ValidationError:
        return False


# --- Writing -------------------------------------------------------------------------------------


def write(path: Path, told: list[Json], packages: Mapping[str, Packed], base: Packed | None = None) -> str:
    """Writes a bundle, whole or not at all, and returns its SHA-256. Raises ``OSError``.

    ``told`` is what ``export.with_policy`` gives, ``packages`` goes by the ids of functions. ``base`` are the base
    packages themselves, where they are to be in it.
    """
    sets: dict[tuple[str, ...], Json] = {}
    texts: dict[str, bytes] = {}
    wheels: dict[str, Path] = {}
    for id, packed in [*packages.items(), *([("", base)] if base is not None else [])]:
        text = packed.lock.encode()
        digest = hashlib.sha256(text).hexdigest()
        texts[digest] = text
        files = {file.name: _digest_of(file) for file in sorted(packed.wheels.glob("*.whl"))} if packed.lock else {}
        wheels |= {sha256: packed.wheels / name for name, sha256 in files.items()}
        made = {
            "kind": packed.kind,
            "requirements": list(packed.requirements),
            "lock": digest,
            "python": packed.python,
            "base": packed.base,
            "wheels": files,
            "functions": [],
        }
        key = (packed.kind, digest, *packed.requirements)
        sets.setdefault(key, made)["functions"] += [id] if id else []
    functions = json.dumps(told, ensure_ascii=False).encode()
    index = {
        "format": FORMAT,
        "version": VERSION,
        "functions": hashlib.sha256(functions).hexdigest(),
        "sets": list(sets.values()),
    }
    aside = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    try:
        with tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as archive:
            _add(archive, INDEX, json.dumps(index, ensure_ascii=False, indent=1).encode())
            _add(archive, FUNCTIONS, functions)
            for digest, text in texts.items():
                _add(archive, f"locks/{digest}", text)
            for sha256, file in wheels.items():
                with file.open("rb") as content:
                    _add(archive, f"wheels/{sha256}", content, file.stat().st_size)
        digest = _digest_of(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return digest


def _add(archive: tarfile.TarFile, name: str, content: bytes | IO[bytes], size: int = 0) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content) if isinstance(content, bytes) else size
    archive.addfile(info, BytesIO(content) if isinstance(content, bytes) else content)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Reading -------------------------------------------------------------------------------------


def unpack(path: Path, folder: Path) -> Bundle:
    """Returns what a bundle holds, its wheels written to ``folder``, everything verified.

    Raises ``ValidationError`` with a sentence. The folder is the caller's to remove, whatever happens.
    """
    with open_ordinary(path) as file:
        try:
            return _Reader(file, folder).read()
        except OSError as error:
            raise ValidationError(f"It cannot be unpacked: {error.strerror or error}.") from None


def read_bundle(
    path: Path, folder: Path, *, valves: bool = True, flags: bool = True, policy: bool = False
) -> tuple[Read, Packed | None]:
    """Returns the functions of a bundle with their packages, and the base packages where it has them.

    ``valves``, ``flags`` and ``policy`` are as for ``read``; ``folder`` as for ``unpack``.
    """
    where = path.name.encode(errors="replace").decode()
    try:
        bundle = unpack(path, folder)
    except ValidationError as error:
        return [Problem(where, " ".join(error.messages))], None
    found = read(bundle.functions, where, valves=valves, flags=flags, policy=policy)
    return [
        replace(one, packages=bundle.packages.get(one.id)) if isinstance(one, Entry) else one for one in found
    ], bundle.base


class _Reader:
    """One archive, read once from its beginning to its end."""

    def __init__(self, file: IO[bytes], folder: Path) -> None:
        self._file = file
        self._folder = folder
        self._size = os.fstat(file.fileno()).st_size

    def read(self) -> Bundle:
        members = self._members()
        index = _index(self._text(members, INDEX, INDEX_BYTES))
        sets = [_set(one) for one in index["sets"]]
        functions = self._text(members, FUNCTIONS, EXPORT_BYTES, index["functions"])
        texts: dict[str, str] = {}
        for digest in dict.fromkeys(one["lock"] for one in sets):
            most = min(locks.LONGEST, EXPORT_BYTES - sum(map(len, texts.values())))
            texts[digest] = self._text(members, f"locks/{digest}", most, digest).decode()
        blobs = self._folder / "wheels"
        blobs.mkdir()
        for sha256 in dict.fromkeys(sha256 for one in sets for sha256 in one["wheels"].values()):
            with (blobs / sha256).open("xb") as target:
                self._take(members, f"wheels/{sha256}", self._size, sha256, target.write)
        if (more := next(members, None)) is not None:
            raise ValidationError(f"It holds {more[0][:100]!r}, which its index does not name.")
        bundle = Bundle(read_export(functions))
        for number, one in enumerate(sets):
            self._place(bundle, one, texts[one["lock"]], self._folder / f"set{number}")
        return bundle

    def _members(self) -> Iterator[tuple[str, int]]:
        """Yields name and size of each member; whoever asks has read the content of the one before.

        The headers are read here and not by ``tarfile``, which would follow extensions: links, sparse files, headers
        of any size.
        """
        while True:
            block = self._file.read(BLOCK)
            if len(block) != BLOCK:
                raise ValidationError("It ends too early: a part of the file is missing.")
            if not block.strip(b"\0"):
                return
            try:
                member = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            except (tarfile.HeaderError, UnicodeDecodeError):
                raise ValidationError("It is damaged: a member's header cannot be read.") from None
            if member.type != tarfile.REGTYPE:
                raise ValidationError(f"It holds {member.name[:100]!r}, which is no ordinary file.")
            yield member.name, member.size

    def _take(
        self, members: Iterator[tuple[str, int]], name: str, most: int, sha256: str, write: Callable[[bytes], Any]
    ) -> None:
        """Passes the content of the next member on, which must be the named one. An empty ``sha256`` is any."""
        found, size = next(members, ("", 0))
        if found != name:
            raise ValidationError(f"It lacks {name} at its place" + (f" and has {found[:100]!r}." if found else "."))
        if not 0 <= size <= most:
            raise ValidationError(f"{name} in it is larger than the {most} bytes that are read.")
        digest = hashlib.sha256()
        left = size
        while left:
            chunk = self._file.read(min(left, CHUNK))
            if not chunk:
                raise ValidationError("It ends too early: a part of the file is missing.")
            digest.update(chunk)
            write(chunk)
            left -= len(chunk)
        self._file.read(-size % BLOCK)
        if sha256 and digest.hexdigest() != sha256:
            raise ValidationError(f"{name} in it has another hash than it should: the file was damaged or changed.")

    def _text(self, members: Iterator[tuple[str, int]], name: str, most: int, sha256: str = "") -> bytes:
        content = BytesIO()
        self._take(members, name, most, sha256, content.write)
        try:
            content.getvalue().decode()
        except UnicodeDecodeError:
            raise ValidationError(f"{name} in it is not UTF-8 text.") from None
        return content.getvalue()

    def _place(self, bundle: Bundle, one: Json, text: str, folder: Path) -> None:
        """Gives a set a folder with its wheels and no others, once each is known to be what its lock names."""
        _check_wheels(text, one["wheels"])
        folder.mkdir()
        for name, sha256 in one["wheels"].items():
            blob = self._folder / "wheels" / sha256
            try:
                os.link(blob, folder / name)
            except OSError:  # a file system without links
                shutil.copyfile(blob, folder / name)
        packed = Packed(tuple(one["requirements"]), one["kind"], text, one["python"], one["base"], folder)
        if packed.kind == BASE:
            bundle.base = packed
        for id in one["functions"]:
            if bundle.packages.setdefault(id, packed) is not packed:
                raise ValidationError(f"It has two sets of packages for {id!r}.")


def _index(text: bytes) -> Json:
    index = read_export(text)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ValidationError("It is no bundle of functions.")
    if index.get("version") != VERSION:
        raise ValidationError("It was written by another release of this server; export it again or update.")
    sets = index.get("sets")
    if not isinstance(sets, list) or len(sets) > MOST or not _is_digest(index.get("functions")):
        raise ValidationError("Its index lacks the functions or the sets of packages, or has too many of those.")
    return index


def _set(one: Any) -> Json:
    """Returns an entry of the index as it must be."""
    good = (
        isinstance(one, dict)
        and one.get("kind") in ("overlay", "complete", "none", BASE)
        and all(_is_texts(one.get(key)) for key in ("requirements", "functions"))
        and all(isinstance(one.get(key), str) for key in ("python", "base"))
        and not (one["kind"] == BASE and one["functions"])
        and _is_digest(one.get("lock"))
        and isinstance(one.get("wheels"), dict)
        and all(_is_wheel(name) and _is_digest(sha256) for name, sha256 in one["wheels"].items())
    )
    if not good:
        raise ValidationError("Its index describes a set of packages in a way that is not understood.")
    made: Json = one
    return made


def _check_wheels(text: str, wheels: Mapping[str, str]) -> None:
    """Makes sure that wheels and lock name the same packages with the same hashes."""
    try:
        pins = {(pin.name, pin.version): pin for pin in locks.read(text)}
    except ValueError as error:
        raise ValidationError(str(error)) from None
    found = set()
    for name, sha256 in wheels.items():
        project, version, _, _ = parse_wheel_filename(name)
        pin = pins.get((project, version))
        if pin is None or sha256 not in pin.hashes:
            raise ValidationError(f"Its lock does not name {name} with the hash that the file has.")
        found.add((project, version))
    if missing := [str(pin.name) for key, pin in pins.items() if key not in found and pin.is_wanted]:
        raise ValidationError(f"It lacks the wheels of {', '.join(missing[:5])}.")


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_wheel(name: Any) -> bool:
    try:
        return isinstance(name, str) and bool(_WHEEL.fullmatch(name) and parse_wheel_filename(name))
    except InvalidWheelFilename:
        return False
