"""Base packages that are installed while a server runs, because they were missing when it started."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from functions_app.runtime import LoadError
from pipeline_app.runners import environments
from pipeline_app.runners.inline import InlineRunner
from tests.pipeline_app.runners.conftest import call, code
from tests.pipeline_app.runners.environments.conftest import shop  # noqa: F401  # a fixture
from tests.pipeline_app.runners.packaged import on_linux, own_runner

NEEDING = """
    import tinypackage
    class Filter:
        def inlet(self, body):
            return {"version": tinypackage.VERSION}
"""
PLAIN = """
    class Filter:
        def inlet(self, body):
            return body
"""


@on_linux
async def test_workers_begin_with_base_packages_that_came_later(shop, settings):  # noqa: F811
    settings.FUNCTIONS_WHEELS = shop / "wheels"
    async with own_runner() as runner:
        with pytest.raises(LoadError, match="No module named 'tinypackage'"):
            await runner.inspect(code(NEEDING, "needing"))
        held = await runner.prepare(code(PLAIN, "plain"))
        environments.build_base()
        # In another epoch, as ``upkeep.lay_ground`` lets all functions be.
        again = replace(code(NEEDING, "needing"), epoch="later")
        assert (await call(runner, again, "inlet")).value == {"version": "1.0"}
        # Who was there lives on, and so does who forks now.
        assert held.running.exit is None
        held.release()
        before = runner._sandbox._supervisor.pid
        assert (await call(runner, code(NEEDING, "other"), "inlet")).value == {"version": "1.0"}
        assert runner._sandbox._supervisor.pid == before


async def test_the_inline_runner_finds_base_packages_that_came_later(shop, settings, monkeypatch):  # noqa: F811
    settings.FUNCTIONS_WHEELS = shop / "wheels"
    monkeypatch.setattr("sys.path", list(sys.path))
    runner = InlineRunner()
    environments.build_base()
    assert (await call(runner, code(NEEDING, "needing_inline"), "inlet")).value == {"version": "1.0"}
    await runner.close()
