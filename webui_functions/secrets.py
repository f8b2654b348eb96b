"""Secrets that a fresh checkout generates for itself, in files only the owner can read."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path


def secret_from_file(path: Path, *, fernet: bool = False) -> str:
    """Return the secret kept in ``path``, generated on first use.

    With ``fernet`` it is a Fernet key (32 bytes, URL-safe base64). Two processes that start
    together agree: the file is written aside and linked into place, and the first link wins.
    """
    if not path.exists():
        value = base64.urlsafe_b64encode(os.urandom(32)).decode() if fernet else secrets.token_urlsafe(48)
        aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(value)
            try:
                os.link(aside, path)
            except FileExistsError:
                pass  # another process was first; its value is read below
        finally:
            aside.unlink()
    value = path.read_text().strip()
    if not value:
        raise RuntimeError(f"{path} is empty: restore it from a backup, or delete it to have a new secret generated")
    return value
