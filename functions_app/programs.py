"""Programs that are run beside the server, such as git and uv: ended with all that they started, and quoted without
passwords. Each is started in a session of its own. Plain Python."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys

# To the last @, since a password may have one, a slash or a blank that nobody escaped.
_CREDENTIALS = re.compile(r"(?<=://)[^`'\"\n]*@")


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
