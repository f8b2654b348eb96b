"""What is measured of a process and of a folder that somebody else changes meanwhile."""

from __future__ import annotations

import ctypes
import math
import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from pipeline_app.runners import watch
from pipeline_app.runners.disk import folder_bytes, nameless_bytes, taken
from pipeline_app.runners.headcount import cpu_seconds
from pipeline_app.runners.scratch import started
from tests.pipeline_app.runners.talk import descriptors

from .conftest import until

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p


def test_cpu_time_of_a_process_and_of_none():
    before = cpu_seconds(os.getpid())
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        pass
    assert 0.04 < cpu_seconds(os.getpid()) - before < 1
    assert cpu_seconds(2**22 - 1) is None


def test_memory_threads_and_files_of_a_process(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    used = watch.at_a_glance(os.getpid())
    assert used.memory_mb > 5
    assert used.threads >= 1
    assert not used.headless
    assert 2_800_000 < taken(os.getpid(), str(tmp_path)) < 10_000_000
    assert watch.at_a_glance(2**22 - 1) is None
    assert taken(2**22 - 1, None) == 0


def test_a_link_out_of_the_folder_counts_for_nothing_but_itself(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "big").write_bytes(b"x" * 1_000_000)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    assert folder_bytes(str(tmp_path / "inside")) < 10_000
    (tmp_path / "inside" / "door").symlink_to("/")
    assert folder_bytes(str(tmp_path / "inside" / "door")) == 0


def test_many_empty_files_count(tmp_path):
    for n in range(100):
        (tmp_path / str(n)).touch()
    assert folder_bytes(str(tmp_path)) >= 100 * 4096


def test_too_many_files_or_too_deep_a_folder_is_infinite(tmp_path):
    before = len(descriptors())
    deep = tmp_path / "deep"
    path = deep
    for _ in range(40):
        path = path / "d"
    path.mkdir(parents=True)
    assert folder_bytes(str(deep)) == math.inf
    many = tmp_path / "many"
    many.mkdir()
    for n in range(10_001):
        (many / str(n)).touch()
    assert folder_bytes(str(many)) == math.inf
    assert len(descriptors()) <= before


def test_files_without_a_name_are_found_where_they_are_open(tmp_path):
    before = nameless_bytes(os.getpid(), str(tmp_path))
    with open(tmp_path / "gone", "wb") as file:
        file.write(b"x" * 1_000_000)
        file.flush()
        os.unlink(tmp_path / "gone")
        again = os.dup(file.fileno())
        assert 900_000 < nameless_bytes(os.getpid(), str(tmp_path)) - before < 2_000_000
        os.close(again)
    assert nameless_bytes(os.getpid(), str(tmp_path)) == before


def test_files_without_a_name_are_found_where_they_are_mapped(tmp_path):
    before = nameless_bytes(os.getpid(), str(tmp_path))
    with open(tmp_path / "gone", "w+b") as file:
        file.write(b"x" * 1_000_000)
        file.flush()
        os.unlink(tmp_path / "gone")
        # Not through Python's mmap, which keeps a descriptor of its own.
        area = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file.fileno(), ctypes.c_long(0))
    assert nameless_bytes(os.getpid(), str(tmp_path)) - before > 900_000
    libc.munmap(ctypes.c_void_p(area), ctypes.c_size_t(4096))
    assert nameless_bytes(os.getpid(), str(tmp_path)) == before


def test_more_mapped_files_without_a_name_than_there_may_be_files_are_infinite(tmp_path):
    areas = []
    with open(tmp_path / "gone", "w+b") as file:
        file.write(b"x" * 4096 * 2)
        file.flush()
        os.unlink(tmp_path / "gone")
        for number in range(10_001):  # turns, for neighbouring areas of one file are joined
            areas.append(libc.mmap(None, ctypes.c_size_t(4096), 1 + number % 2 * 2, 1, file.fileno(), ctypes.c_long(0)))
    assert nameless_bytes(os.getpid(), str(tmp_path)) == math.inf
    for area in areas:
        libc.munmap(ctypes.c_void_p(area), ctypes.c_size_t(4096))
    assert nameless_bytes(os.getpid(), str(tmp_path)) < math.inf


@pytest.fixture
def busy():
    """A process that uses CPU time."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    process.kill()
    process.wait()


async def test_memory_is_looked_at_while_a_look_at_the_disk_goes_on_and_on(monkeypatch, tmp_path, busy):
    """How long that takes is up to author code."""
    looking, go_on = threading.Event(), threading.Event()

    def endless(pid, folder):
        looking.set()
        assert go_on.wait(60)
        return 0

    monkeypatch.setattr(watch, "taken", endless)
    policy = SimpleNamespace(threads=1000)
    worker = Worker(pid=busy.pid, began=started(busy.pid), scratch=str(tmp_path), code=SimpleNamespace(policy=policy))
    made = watch.Watch(lambda: [worker], lambda: None)
    try:
        made.wake()
        assert await until(looking.is_set)
        before = len(worker.memories)
        assert await until(lambda: len(worker.memories) >= before + 3)
        assert min(worker.memories) > 1
    finally:
        go_on.set()
        made.close()


async def test_only_the_worker_that_it_took_long_to_look_at_is_left_alone_for_a_while():
    looks = {"slow": 0, "quick": 0}

    def measure(worker):
        looks[worker.scratch] += 1
        if worker.scratch == "slow":
            time.sleep(0.1)

    slow, quick = (Worker(pid=1, scratch=name) for name in looks)
    made = watch.Looks("looks", measure, lambda worker, used: None)
    try:
        for number in range(5):
            made.begin({slow: float(number), quick: float(number)})
            assert await until(lambda: not made._measuring)
    finally:
        made.close()
    assert looks["quick"] == 5 > looks["slow"]


class Worker:
    """What a watch knows of a worker."""

    def __init__(self, **known):
        self.__dict__.update(known)
        self.threads, self.headless, self.disk_mb = 0, 0, 0.0
        self.memories = []

    def __setattr__(self, name, value):
        if name == "memory_mb":
            self.memories.append(value)
        super().__setattr__(name, value)

    def look(self):
        """Is ended by nobody here."""


def test_descriptors_between_two_sockets_are_not_to_be_counted():
    left, right = socket.socketpair()
    assert nameless_bytes(os.getpid(), None) < math.inf
    with open("/dev/null") as file:
        socket.send_fds(left, [b"x"], [file.fileno()])
        assert nameless_bytes(os.getpid(), None) == math.inf
    left.close()
    right.close()
