"""Functions with packages of their own, for tests: their folders are written by hand (fixture ``packages``)."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_app.runners.process import ProcessRunner
from pipeline_app.runners.sandbox import Sandbox
from tests.pipeline_app.runners.conftest import call, code

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the boundary is Linux's")

ASKED = """
    import importlib, os, sys

    class Filter:
        def inlet(self, body):
            found = {}
            for name in body["import"]:
                try:
                    module = importlib.import_module(name)
                    found[name] = getattr(module, "__version__", None) or getattr(module, "VERSION", None) or "?"
                except ImportError as error:
                    found[name] = type(error).__name__
            return found
"""


def overlaid(source: str, *folders: str, function_id: str = "overlaid", **given):
    return replace(code(source, function_id, **given), packages=folders)


def complete(source: str, folder: str, function_id: str = "complete", **given):
    return replace(code(source, function_id, **given), environment=folder)


def completing(source: str, folder: str, **given):
    """Laid over the base packages, with something that one of them looks for when it is loaded."""
    (Path(folder) / "pydantic_extra_types.py").touch()
    return overlaid(source, folder, **given)


async def imported(runner, version, *names):
    return (await call(runner, version, "inlet", {"import": names})).value


@contextlib.asynccontextmanager
async def own_runner(sandbox: Sandbox | None = None, **given):
    runner = ProcessRunner(sandbox=sandbox, **given)
    await runner.open()
    try:
        yield runner
    finally:
        await runner.close()


def thing(version: object) -> dict[str, str]:
    return {"thing.py": f"VERSION = {str(version)!r}\n"}
