"""Packages with large native libraries, installed beside the base packages, in real workers."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import uv
from django.conf import settings

from functions_app.policy import Policy
from pipeline_app.errors import FunctionUnavailable
from pipeline_app.runners.base import Code, Task
from pipeline_app.runners.process import ProcessRunner

SOURCE = '''
"""
requirements: numpy, pandas
"""
import numpy as np
import pandas as pd


class Filter:
    def inlet(self, body):
        numbers = np.arange(12, dtype=float).reshape(3, 4)
        frame = pd.DataFrame({"word": ["a", "b", "a"], "length": [1, 2, 3]})
        frame.to_csv("words.csv", index=False)
        again = pd.read_csv("words.csv")
        return {
            "product": (numbers @ numbers.T).tolist()[0],
            "rank": int(np.linalg.matrix_rank(numbers)),
            "sums": again.groupby("word")["length"].sum().to_dict(),
            "sample": float(np.random.default_rng(7).normal()),
            "files": [np.__file__, pd.__file__],
        }
'''


@pytest.fixture(scope="module")
def packages(base_packages) -> Path:
    """A folder with numpy and pandas, kept for later test runs; skips where they can't be installed."""
    folder = settings.FUNCTIONS_ENVIRONMENTS / f"tests-science-{sys.version_info.major}{sys.version_info.minor}"
    if folder.is_dir():
        return folder
    aside = tempfile.mkdtemp(prefix=".tests-science-", dir=settings.FUNCTIONS_ENVIRONMENTS)
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--only-binary", ":all:", "--python", sys.executable]
    done = subprocess.run([*command, "--target", aside, "numpy", "pandas"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"numpy and pandas can't be installed here: {done.stderr[-300:]}")
    try:
        Path(aside).rename(folder)
    except OSError:  # another process of this run was first
        assert folder.is_dir()
    return folder


async def answer(code):
    runner = ProcessRunner()
    try:
        worker = await runner.prepare(code)
        outcome = await runner.call(worker, Task("inlet", {}, {}, {}, time_limit=60))
        worker.release()
        return outcome.value
    finally:
        await runner.close()


def code_of(packages, **policy):
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()
    return Code("science", 1, digest, SOURCE, Policy(**policy), packages=packages)


@pytest.mark.parametrize("memory_mb", [512, 256])
def test_numpy_and_pandas_load_and_compute(packages, memory_mb):
    told = asyncio.run(answer(code_of((str(packages),), memory_mb=memory_mb)))
    assert all(Path(file).is_relative_to(packages) for file in told.pop("files"))
    assert told.pop("sample") == pytest.approx(0.0012301533574825742)
    assert told == {"product": [14.0, 38.0, 62.0], "rank": 2, "sums": {"a": 4, "b": 2}}


def test_packages_of_others_are_not_found(packages):
    with pytest.raises(FunctionUnavailable, match="numpy"):
        asyncio.run(answer(code_of(())))
