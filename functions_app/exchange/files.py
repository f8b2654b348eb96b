"""Functions as files: a ``.py`` file with the source, and a small TOML or JSON file beside it for everything else.

Whatever a folder holds is only read: nothing of it is run, and no link in it leads out of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ValidationError

from functions_app import wire
from functions_app.exchange.entries import Entry, Problem, Read, read, read_entry, read_export, slug, without_twins
from functions_app.exchange.toml import to_toml

Json = dict[str, Any]

SIDECARS = (".toml", ".json")
SIDECAR_KEYS = frozenset(
    {"id", "name", "description", "is_active", "is_global", "created_at", "meta", "valves", "policy"}
)
EXPORT_BYTES = 256 * 1024 * 1024
NAME_BYTES = 200
IGNORED = frozenset({"__init__.py"})


# --- Reading -------------------------------------------------------------------------------------


def read_path(path: Path, *, valves: bool = True, flags: bool = True, policy: bool = False) -> Read:
    """Returns what a path holds: an export (``.json``), one function (``.py``), or a folder of them.

    ``flags`` and ``policy`` are of an export, as for ``read``; files of our own say theirs for a reason.
    """
    if path.is_dir():
        return read_folder(path, valves=valves)
    if path.suffix.lower() == ".py":
        return [read_file(path, valves=valves)]
    where = _shown(path)
    try:
        return read(read_export(_content(path, EXPORT_BYTES)), where, valves=valves, flags=flags, policy=policy)
    except ValidationError as error:
        return [Problem(where, " ".join(error.messages))]


def read_folder(folder: Path, *, valves: bool = True) -> Read:
    """Returns the function of each ``.py`` file right in a folder, in the order of their names."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        return [Problem(_shown(folder), f"The folder cannot be read: {error.strerror}.")]
    files = [
        folder / name for name in names if name.endswith(".py") and name not in IGNORED and not name.startswith(".")
    ]
    return without_twins(read_file(path, folder, valves=valves) for path in files)


def read_file(path: Path, root: Path | None = None, *, valves: bool = True) -> Entry | Problem:
    """Returns the function in a ``.py`` file, with what the file beside it says.

    Without one it has the file's name as its id. ``root`` is the folder that links may not leave.
    """
    where = _shown(path)
    try:
        source = _text(path, root)
        sidecars = [path.with_suffix(suffix) for suffix in SIDECARS if os.path.lexists(path.with_suffix(suffix))]
        if len(sidecars) > 1:
            raise ValidationError(f"There are both {' and '.join(map(_shown, sidecars))}; keep one of them.")
        entry: Json = {"id": slug(path.stem), "content": source}
        for sidecar in sidecars:
            entry |= _sidecar(sidecar, root or path.parent)
    except ValidationError as error:
        return Problem(where, " ".join(error.messages))
    return read_entry(entry, where, valves=valves)


def _sidecar(path: Path, root: Path) -> Json:
    """Returns what a sidecar says, in the keys of an entry."""
    try:
        text = _text(path, root).removeprefix("\ufeff")
        said = tomllib.loads(text) if path.suffix == ".toml" else read_export(text)
    except tomllib.TOMLDecodeError as error:
        raise ValidationError(f"{_shown(path)} is no TOML: {error}.") from None
    except RecursionError:
        raise ValidationError(f"{_shown(path)} is nested too deeply.") from None
    if not isinstance(said, Mapping):
        raise ValidationError(f"{_shown(path)} must hold an object, not {type(said).__name__}.")
    if unknown := sorted(set(said) - SIDECAR_KEYS):
        raise ValidationError(
            f"{_shown(path)} has unknown keys ({', '.join(unknown)}); it may have {', '.join(sorted(SIDECAR_KEYS))}."
        )
    entry = dict(said)
    meta, description = entry.pop("meta", {}), entry.pop("description", None)
    if not isinstance(meta, Mapping):
        raise ValidationError(f"meta in {_shown(path)} must be a table, not {type(meta).__name__}.")
    entry["meta"] = {**meta} if description is None else {**meta, "description": description}
    return entry


def _text(path: Path, root: Path | None) -> str:
    """Returns a file's text to the byte: line ends and a byte order mark stay."""
    limit: int = settings.FUNCTIONS_MAX_BODY
    try:
        return _content(path, limit, root).decode()
    except UnicodeDecodeError as error:
        raise ValidationError(f"{_shown(path)} is not UTF-8 text ({error.reason} at byte {error.start}).") from None


def _content(path: Path, limit: int, root: Path | None = None) -> bytes:
    """Returns an ordinary file's bytes. Raises ``ValidationError`` for any other, and for a link out of ``root``."""
    name = _shown(path)
    with open_ordinary(path, root) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise ValidationError(f"{name} cannot be read: {error.strerror or error}.") from None
    if len(data) > limit:
        raise ValidationError(f"{name} is larger than the {limit} bytes that are read.")
    return data


def open_ordinary(path: Path, root: Path | None = None) -> IO[bytes]:
    """Opens an ordinary file to be read. Raises ``ValidationError`` for any other, and for a link out of ``root``."""
    name = _shown(path)
    try:
        if root is not None and not path.resolve().is_relative_to(root.resolve()):
            raise ValidationError(f"{name} is a link that leaves the folder; put the file itself there.")
        # Without waiting: a named pipe must be refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValidationError(f"{name} is not an ordinary file.")
            return open(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        reason = getattr(error, "strerror", None) or "it is a link that leads to itself"
        raise ValidationError(f"{name} cannot be read: {reason}.") from None


def _shown(path: Path) -> str:
    return path.name.encode(errors="replace").decode()


# --- Writing -------------------------------------------------------------------------------------


def files_of(told: Json) -> Iterator[tuple[str, bytes]]:
    """Yields the names and contents of a function's two files. ``told`` is what ``export.with_policy`` gives."""
    stem = stem_of(told["id"])
    yield f"{stem}.py", told["content"].encode()
    said: Json = {} if slug(stem) == told["id"] else {"id": told["id"]}
    meta = wire.own_meta(told["meta"])
    said |= {"name": told["name"], "is_active": told["is_active"], "is_global": told["is_global"]}
    if (description := meta.pop("description", None)) is not None:
        said["description"] = description
    said |= {"created_at": told["created_at"], "policy": told["policy"]}
    said |= {"meta": meta} if meta else {}
    said |= {"valves": told["valves"]} if told.get("valves") is not None else {}
    try:
        yield f"{stem}.toml", to_toml(said).encode()
    except ValueError:  # null, which TOML does not have
        yield f"{stem}.json", (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def stem_of(id: str) -> str:
    """Returns the name of a function's files: its id, unless file systems would find that too long."""
    if len(id.encode()) <= NAME_BYTES:
        return id
    return f"{id[:40]}_{hashlib.sha256(id.encode()).hexdigest()[:16]}"


def write_folder(folder: Path, functions: Iterable[Json]) -> tuple[int, list[str]]:
    """Writes each function's files and returns how many functions, and the ``.py`` files there that are none of them.

    A file appears whole or not at all. Raises ``OSError``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    count = 0
    for told in functions:
        count += 1
        names = set()
        for name, content in files_of(told):
            aside = folder / f".{name[:40]}.{os.getpid()}.part"
            try:
                aside.write_bytes(content)
                os.replace(aside, folder / name)
            finally:
                aside.unlink(missing_ok=True)
            names.add(name)
        for suffix in SIDECARS:  # what an earlier export said in the other form
            if (other := f"{stem_of(told['id'])}{suffix}") not in names:
                (folder / other).unlink(missing_ok=True)
        written |= names
    others = [path.name for path in folder.glob("*.py") if path.name not in written | IGNORED]
    return count, sorted(name for name in others if not name.startswith("."))
