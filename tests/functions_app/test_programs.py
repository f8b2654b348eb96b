from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from functions_app import programs
from tests.settings import CHECKOUT

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


TYING = """
import subprocess, time
from functions_app import programs
child = subprocess.Popen(
    programs.tied(["/bin/sh", "-c", "echo $1; sleep 60", "sh", "hello"]), stdout=subprocess.PIPE, text=True,
    start_new_session=True,
)
print(child.pid, child.stdout.readline(), flush=True)
time.sleep(60)
"""


def until_gone(pid):
    deadline = time.monotonic() + 60
    while _lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
    until_gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has death signals")
def test_a_tied_program_does_not_outlive_who_started_it():
    parent = subprocess.Popen([sys.executable, "-c", TYING], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout as told:
        child, said = told.readline().split()
        parent.kill()
        parent.wait()
    assert said == "hello"
    until_gone(int(child))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has death signals")
def test_a_program_whose_starter_is_gone_already_is_not_begun():
    command = programs.tied(["/bin/echo", "begun"])
    command[command.index(str(os.getpid()))] = "1"
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has death signals")
def test_a_tied_program_ignores_no_signal():
    command = programs.tied(["/bin/grep", "SigIgn", "/proc/self/status"])
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    assert int(said.split()[1], 16) == 0


def _lives(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
