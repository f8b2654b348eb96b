"""A test that hangs tells where: shown by one that does."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.settings import CHECKOUT

HANGS = """
import asyncio
import subprocess
import sys
import threading

def test_before():
    pass

async def waits_for_what_never_comes():
    await asyncio.get_running_loop().create_future()

async def main():
    await waits_for_what_never_comes()

def test_hangs():
    subprocess.Popen([sys.executable, "-c", "input()  # a_child", "x"], stdin=subprocess.PIPE)
    asyncio.run(main())

def test_after():
    pass
"""
HOLDS_THE_LOCK = """
import ctypes

def test_holds_the_lock_of_the_interpreter():
    ctypes.PyDLL(None).sleep(3600)
"""


def run(tmp_path, *options: str) -> str:
    """Runs the files of a folder, in which tests hang, in a pytest of its own, and returns what that says."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nfaulthandler_timeout = 2\nfaulthandler_exit_on_timeout = true\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.stuck", *options],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))},
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(CHECKOUT),
            "WEBUI_FUNCTIONS_TESTS_FOLDER": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    return done.stdout


def assert_all_is_told(said: str) -> None:
    told = said.partition("test_hanging.py::test_hangs has been going on for 2 seconds.")[2]
    assert 'test_hanging.py", line 18, in test_hangs' in told  # the thread
    assert 'test_hanging.py", line 11, in waits_for_what_never_comes' in told  # the task
    assert "input() # a_child" in told
    assert "Timeout (" in told  # what pytest writes when it ends the process


def test_a_worker_tells_below_the_failures(tmp_path):
    (tmp_path / "test_hanging.py").write_text(HANGS)
    (tmp_path / "test_holding.py").write_text(HOLDS_THE_LOCK)
    failures, _, below = run(tmp_path, "-n", "1", "-p", "xdist").partition("stuck or crashed: gw0")
    assert "worker 'gw0' crashed" in failures
    assert_all_is_told(below)
    # What holds the interpreter's lock stops all that is written in Python: only the threads are told.
    holding = below.partition("stuck or crashed: gw1")[2]
    assert "Timeout (0:00:02)!" in holding
    assert 'test_holding.py", line 5 in test_holds_the_lock_of_the_interpreter' in holding
    assert "2 failed, 2 passed" in holding


def test_a_process_on_its_own_tells_at_once(tmp_path):
    (tmp_path / "test_hanging.py").write_text(HANGS)
    assert_all_is_told(run(tmp_path))
