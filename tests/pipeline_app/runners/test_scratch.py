"""A server's folder and those of its workers; what killed servers leave is in ``test_zygote.py``."""

from __future__ import annotations

import os
import re
import signal

import pytest

from pipeline_app.runners import scratch as scratches
from pipeline_app.runners.scratch import Scratch, started


@pytest.fixture
def scratch():
    made = Scratch()
    yield made
    made.close()
    assert not made.path.exists()


def test_a_folder_has_a_name_that_nobody_can_guess(scratch):
    first, second = scratch.folder(1), scratch.folder(2)
    names = [re.fullmatch(r"w(\d)-([0-9a-f]{16})", folder.name) for folder in (first, second)]
    assert [name[1] for name in names] == ["1", "2"]
    assert names[0][2] != names[1][2]
    assert first.stat().st_mode & 0o777 == 0o700


def test_what_is_noted_of_a_worker_has_no_other_name_either(scratch):
    folder = scratch.folder(7)
    assert scratch.noted(7) == ""
    scratch.note(7, os.getpid())
    assert scratch.noted(7) == started(os.getpid()) != ""
    assert sorted(scratch.path.glob("w*")) == sorted([folder, folder.with_suffix(".pid")])
    scratch.drop(7)
    assert list(scratch.path.glob("w*")) == []
    assert scratch.noted(7) == ""


def test_a_remover_that_was_stopped_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(scratches, "END_SECONDS", 0.5)
    made = Scratch()
    os.kill(made._remover.pid, signal.SIGSTOP)
    made.close()
    assert made._remover.returncode == -signal.SIGKILL
    assert not made.path.exists()
