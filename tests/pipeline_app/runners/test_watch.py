"""What is measured of a process and of a folder that somebody else changes meanwhile."""

from __future__ import annotations

import ctypes
import math
import os
import socket
import time

from pipeline_app.runners.disk import folder_bytes, nameless_bytes
from pipeline_app.runners.headcount import cpu_seconds
from pipeline_app.runners.watch import measure
from tests.pipeline_app.runners.talk import descriptors

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
    used = measure(os.getpid(), str(tmp_path))
    assert used.memory_mb > 5
    assert used.threads >= 1
    assert 2.8 < used.disk_mb < 10
    assert measure(2**22 - 1, None) is None


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


def test_descriptors_between_two_sockets_are_not_to_be_counted():
    left, right = socket.socketpair()
    assert nameless_bytes(os.getpid(), None) < math.inf
    with open("/dev/null") as file:
        socket.send_fds(left, [b"x"], [file.fileno()])
        assert nameless_bytes(os.getpid(), None) == math.inf
    left.close()
    right.close()
