"""Folders as hostile code leaves them, and nothing of them afterwards."""

from __future__ import annotations

import os
import resource

import pytest

from pipeline_app.worker.folders import remove


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "w1"
    made.mkdir()
    return made


def test_everything_goes_and_links_are_not_followed(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_text("x")
    (folder / "link").symlink_to(outside)
    (folder / "a" / "loop").symlink_to("..")
    os.mkfifo(folder / "fifo")
    (folder / "\udcff odd").write_text("x")
    remove(str(folder))
    assert not folder.exists()
    assert (outside / "kept").exists()


def test_nested_deeper_than_any_path_or_stack(folder):
    here = os.open(folder, os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("d" * 50, dir_fd=here)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        remove(str(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not folder.exists()


def test_folders_that_nobody_may_enter(folder):
    (folder / "closed").mkdir()
    (folder / "closed" / "file").write_text("x")
    (folder / "closed").chmod(0)
    folder.chmod(0)
    remove(str(folder))
    assert not folder.exists()


def test_many_beside_each_other(folder):
    for n in range(2000):
        (folder / str(n)).mkdir()
    remove(str(folder))
    assert not folder.exists()


def test_what_is_not_there_is_no_trouble(folder):
    remove(str(folder / "nothing"))
    assert folder.exists()
