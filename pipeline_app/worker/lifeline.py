"""What ends a worker with its server, whatever author code does meanwhile: the kernel's word that a pipe has no writer.

The server holds a named pipe open for writing. A worker opens it for reading and asks for a signal, SIGKILL, when
something happens to it. Nothing is ever written, so the only thing that happens is that the server ends, however.
Death signals (``PR_SET_PDEATHSIG``) would say that the zygote ended, which workers are to survive.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys

NAME = "lifeline"
F_SETSIG = 10  # Linux only
FIRST = (5, 6)
"""The kernel from which on only the last writer's end is a reason for the signal, and not that of any reader."""


def take(path: str) -> int | None:
    """Returns the descriptor that a worker's life hangs on from now; None where the kernel does not offer it."""
    if not _is_told_of_the_end_only():
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | fcntl.FASYNC)
    except OSError:
        os.close(fd)
        return None
    return fd


def _is_told_of_the_end_only() -> bool:
    major, minor, *_ = os.uname().release.split(".")
    return sys.platform == "linux" and major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= FIRST
