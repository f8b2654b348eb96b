"""Threads are counted whatever the loop does, and who has too many ends before the loop hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from pipeline_app.runners.headcount import Headcount, cpu_seconds, thread_count
from pipeline_app.runners.scratch import started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")

CROWD = """
import threading, time
for _ in range(30):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("there", flush=True)
while True:
    pass
"""


@pytest.fixture
def crowd():
    """A process with 31 threads."""
    process = subprocess.Popen([sys.executable, "-c", CROWD], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"there\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


class Worker(SimpleNamespace):
    def __init__(self, pid, began, code):
        super().__init__(pid=pid, began=began, code=code, threads=0)

    def __hash__(self):
        return id(self)


def worker(process, threads, began=None):
    policy = SimpleNamespace(threads=threads)
    code = SimpleNamespace(policy=policy)
    return Worker(process.pid, began or started(process.pid), code)


def test_threads_and_cpu_time_of_a_process_and_of_none(crowd):
    assert thread_count(crowd.pid) == 31
    before, own = thread_count(os.getpid()), threading.Event()
    threads = [threading.Thread(target=own.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert thread_count(os.getpid()) == before + 5
    own.set()
    for thread in threads:
        thread.join()
    assert thread_count(2**22 - 1) == 0
    assert cpu_seconds(2**22 - 1) is None


async def test_who_has_too_many_is_ended_while_the_loop_is_held(crowd):
    found = []
    one = worker(crowd, threads=20)
    counting = Headcount(lambda: [one], found.append)
    counting.wake()
    try:
        assert crowd.wait(5) == -signal.SIGKILL  # blocks the loop
        assert found == []
        await asyncio.sleep(0.05)
        assert found[0] is one
        assert one.threads == 31
    finally:
        counting.close()


async def test_others_are_let_be(crowd):
    found = []
    enough, foreign = worker(crowd, threads=31), worker(crowd, threads=20, began="1")
    counting = Headcount(lambda: [enough], found.append)
    counting.wake()
    await asyncio.sleep(0.2)
    counting.close()
    assert found == []
    counting = Headcount(lambda: [foreign], found.append)  # its number was given to another one
    counting.wake()
    await asyncio.sleep(0.2)
    counting.close()
    assert crowd.poll() is None


async def test_without_workers_the_thread_rests():
    looks = []
    counting = Headcount(lambda: looks.append(1) or [], lambda worker: None)
    counting.wake()
    await asyncio.sleep(0.3)
    assert len(looks) == 1
    counting.wake()
    await asyncio.sleep(0.1)
    assert len(looks) == 2
    began = time.monotonic()
    counting.close()
    assert time.monotonic() - began < 0.5
