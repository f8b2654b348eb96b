from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from functions_app import programs

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "fatal: unable to access 'https://alice:secret@example.org/x.git/'",
            "fatal: unable to access 'https://****@example.org/x.git/'",
        ),
        ("from https://alice:se/cr@et@example.org", "from https://****@example.org"),
        ("https://example.org/x, and mail to alice", "https://example.org/x, and mail to alice"),
    ],
)
def test_a_password_is_left_out_of_what_a_program_says(said, told):
    assert programs.without_passwords(said) == told


@pytest.mark.skipif(sys.platform == "win32", reason="there are no groups of processes")
def test_a_program_ends_with_what_it_started():
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout as told:
        child = int(told.readline())
        programs.end(process)
    assert process.returncode == -9
    deadline = time.monotonic() + 10
    while _lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _lives(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
