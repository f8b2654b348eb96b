"""Memory without a file is a process's own, whatever kind was asked for, and behaves as Python's."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_app.worker.mappings import _Mapping
from tests.settings import CHECKOUT

ANYWAY = [
    {},
    {"flags": mmap.MAP_SHARED},
    {"flags": mmap.MAP_SHARED | mmap.MAP_ANONYMOUS},
    {"flags": mmap.MAP_PRIVATE},
    {"access": mmap.ACCESS_WRITE},
    {"access": mmap.ACCESS_COPY},
]


def kind_of(room):
    """How the kernel shows a mapping: its last letter is "p" where it is private."""
    import ctypes

    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1]
    raise AssertionError("the mapping is not there")


@pytest.mark.skipif(sys.platform != "linux", reason="maps are read in /proc")
@pytest.mark.parametrize("given", ANYWAY, ids=str)
def test_memory_without_a_file_is_private(given):
    room = _Mapping(-1, 1 << 20, **given)
    room[:5] = b"hello"
    assert kind_of(room) == "rw-p"
    assert room[:5] == b"hello"


def test_memory_to_be_read_can_only_be_read():
    with _Mapping(-1, 4096, access=mmap.ACCESS_READ) as room:
        assert room[:4] == bytes(4)
        with pytest.raises(TypeError):
            room[0] = 1


def test_it_grows_and_is_what_python_calls_it():
    with _Mapping(-1, 4096) as room:
        room[:2] = b"ab"
        room.resize(8192)
        assert (len(room), room[:2]) == (8192, b"ab")
        assert isinstance(room, mmap.mmap)
        assert repr(type(room)) == "<class 'mmap.mmap'>"


def test_files_are_mapped_as_ever(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    descriptor = os.open(path, os.O_RDWR)
    with _Mapping(descriptor, 4096, mmap.MAP_SHARED, offset=4096) as room:
        room[:2] = b"ab"
    os.close(descriptor)
    assert path.read_bytes()[4096:4098] == b"ab"


def test_nobody_may_ask_for_both_kinds_of_rights():
    with pytest.raises(ValueError, match="both access and flags"):
        _Mapping(os.open(os.devnull, os.O_RDONLY), 1, flags=mmap.MAP_PRIVATE, access=mmap.ACCESS_READ)


def test_a_worker_puts_it_in_the_place_of_pythons():
    asked = "import mmap; from pipeline_app.worker import mappings; mappings.install(); print(mmap.mmap is mappings._Mapping)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
