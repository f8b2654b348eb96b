"""The holes in Python's memory, and that they are filled."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline_app.worker import filling

HOLES = """
import sys
sys.path.insert(0, {path!r})
from pipeline_app.worker import filling
many = [object() for _ in range(100_000)] + [bytes(60) for _ in range(100_000)]
del many[::2]

def free():
    return sum(int(size) * int(blocks) for size, blocks in filling._CLASS.findall(filling._report({folder!r})))

before = free()
kept = filling.fill({folder!r})
print(before, free(), sum(map(len, kept)))
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="this memory is CPython's")
def test_hardly_a_hole_is_left(tmp_path):
    path = filling.__file__.rpartition("/pipeline_app/")[0]
    code = HOLES.format(path=path, folder=str(tmp_path))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    before, after, blocks = map(int, ran.stdout.split())
    assert blocks > 90_000
    assert after < before / 20
    assert list(tmp_path.iterdir()) == []


def test_an_interpreter_without_a_report_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.delattr(sys, "_debugmallocstats", raising=False)
    assert filling.fill(str(tmp_path)) == []
