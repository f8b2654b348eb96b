"""Landlock: the files a process may reach, and nothing else, without any privilege (Linux 5.13 and later).

Layers only stack: what the zygote has given up, a worker cannot get back, and a worker's own layer narrows the
zygote's. Landlock knows no right to look at a file's existence, size and times; a mount view closes that.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable

from .kernel import PR_SET_NO_NEW_PRIVS, call, prctl

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = 1 << 6, 1 << 7, 1 << 8, 1 << 9
_MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = 1 << 10, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV, _RESOLVE_UNIX = 1 << 13, 1 << 14, 1 << 15, 1 << 16

_READING = _READ_FILE | _READ_DIR
_WRITING = _READING | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""The rights that mean something for what is no directory; the kernel refuses rules with others."""

_TCP, _UDP = 0b11, 0b1100
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

# What each version of the interface can restrict: files, ports, scopes. All of it is restricted.
_UP_TO_IOCTL = _IOCTL_DEV | (_IOCTL_DEV - 1)
_RESTRICTED = {
    1: (_REFER - 1, 0, 0),
    2: (_TRUNCATE - 1, 0, 0),
    3: (_IOCTL_DEV - 1, 0, 0),
    4: (_IOCTL_DEV - 1, _TCP, 0),
    5: (_UP_TO_IOCTL, _TCP, 0),
    6: (_UP_TO_IOCTL, _TCP, _ABSTRACT_SOCKETS_AND_SIGNALS),
    9: (_UP_TO_IOCTL | _RESOLVE_UNIX, _TCP, _ABSTRACT_SOCKETS_AND_SIGNALS),
    10: (_UP_TO_IOCTL | _RESOLVE_UNIX, _TCP | _UDP, _ABSTRACT_SOCKETS_AND_SIGNALS),
}
_FIELDS_SINCE = ((6, 24), (4, 16), (1, 8))
"""From which version on the attributes have how many bytes."""

_ASK_VERSION = 1
_RULE_BENEATH_PATH = 1
_LOG_NOTHING = 1
"""Since version 7: no record of what is refused, or a function could flood the audit log."""


def version() -> int:
    """Returns the version of Landlock that the kernel offers; 0 when it offers none."""
    try:
        return call("landlock_create_ruleset", 0, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str], most: int | None = None) -> tuple[int, list[str]]:
    """Restricts this process for good to reading beneath some paths and writing beneath others.

    No TCP, no UDP where Landlock knows it, no signal and no abstract socket to the outside, no execution. ``most``
    pretends that the kernel knows no later version. Returns the version used and the paths that are not there.
    """
    offered = version()
    known = min(offered, most) if most is not None else offered
    if known < 1:
        raise OSError(errno.EOPNOTSUPP, "The kernel offers no Landlock")
    ruleset, files = _ruleset(known)
    missing: list[str] = []
    try:
        for paths, rights in ((readable, _READING), (writable, _WRITING)):
            missing += [path for path in paths if not _allow(ruleset, path, rights & files)]
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        call("landlock_restrict_self", ruleset, _LOG_NOTHING if known >= 7 else 0)
    finally:
        os.close(ruleset)
    return known, missing


def _ruleset(known: int) -> tuple[int, int]:
    """Returns a ruleset that takes all a version knows, and the rights on files among it.

    Where the kernel has less than its version should have, the one before it is taken.
    """
    for number in sorted((number for number in _RESTRICTED if number <= known), reverse=True):
        files, ports, scopes = _RESTRICTED[number]
        size = next(size for since, size in _FIELDS_SINCE if number >= since)
        try:
            return call("landlock_create_ruleset", struct.pack("=QQQ", files, ports, scopes)[:size], size, 0), files
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.E2BIG) or number == 1:
                raise
    raise AssertionError("the first version is always tried")


def _allow(ruleset: int, path: str, rights: int) -> bool:
    """Adds a rule; False when there is no such path."""
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= _OF_FILES
        call("landlock_add_rule", ruleset, _RULE_BENEATH_PATH, struct.pack("=Qi", rights, beneath), 0)
    finally:
        os.close(beneath)
    return True
