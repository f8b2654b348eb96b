"""A shop: base packages of one small package, a folder of wheels, and no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_app.runners import environments
from tests.wheels import make_wheel


@pytest.fixture
def shop(tmp_path, settings, monkeypatch) -> Path:
    """A project folder with a lock of one small package, and an index that is a folder: ``wheels``."""
    wheels = tmp_path / "wheels"
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    settings.BASE_DIR = tmp_path
    settings.FUNCTIONS_ENVIRONMENTS = tmp_path / "environments"
    settings.FUNCTIONS_RUNNER = "process"
    (tmp_path / environments.LOCK_NAME).write_text(make_wheel(wheels, "tinypackage", "1.0"))
    (tmp_path / "requirements-functions.in").write_text("# what all find\ntinypackage>=1  # in any version\n")
    return tmp_path


@pytest.fixture
def market(shop, settings) -> Path:
    """A shop with its base packages built and the wheels folder as the only source; returns that folder."""
    environments.build_base()
    settings.FUNCTIONS_WHEELS = shop / "wheels"
    return shop / "wheels"
