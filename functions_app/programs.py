"""Programs that are run beside the server, such as git and uv: ended with all that they started, and quoted without
passwords. Each is started in a session of its own. Plain Python."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence

# The death signal is asked for by the process that becomes the program: what runs between fork and exec in a server
# with threads must not be Python. Whoever started it may be gone by then. Python ignores two signals, which no program
# that it starts is to ignore.
_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
for ignored in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(ignored, signal.SIG_DFL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

# To the last @, since a password may have one, a slash or a blank that nobody escaped.
_CREDENTIALS = re.compile(r"(?<=://)[^`'\"\n]*@")


def tied(command: Sequence[str]) -> list[str]:
    """Returns the command that starts a program so that the kernel ends it when the thread that waits for it ends,
    also by ``kill -9`` of its process. What the program started itself notices at its pipes. Linux only; elsewhere the
    command is as it was."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]


def end(process: subprocess.Popen[str]) -> None:
    """Kills a program and what it started, and waits for its end."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def without_passwords(text: str) -> str:
    """Returns a text with the passwords of addresses left out."""
    return _CREDENTIALS.sub("****@", text)
