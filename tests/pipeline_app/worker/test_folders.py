"""Folders as hostile code leaves them, and nothing of them afterwards."""

from __future__ import annotations

import contextlib
import os
import resource
import threading

import pytest

from pipeline_app.worker import folders
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
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 32, hard))
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


def test_a_folder_that_may_be_read_and_not_searched(folder):
    (folder / "shut" / "inside").mkdir(parents=True)
    (folder / "shut" / "file").write_text("x")
    (folder / "shut").chmod(0o400)
    folder.chmod(0o400)
    remove(str(folder))
    assert not folder.exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(folder, tmp_path):
    (folder / "kept").mkdir(mode=0)
    before = folder.stat()
    (tmp_path / "w2").symlink_to(folder)
    with pytest.raises(NotADirectoryError):
        remove(str(tmp_path / "w2"))
    assert folder.stat().st_mode == before.st_mode
    assert (folder / "kept").stat().st_mode & 0o777 == 0


def test_a_link_that_takes_the_place_of_a_folder_meanwhile_is_not_followed(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").mkdir()
    outside.chmod(0o500)
    ended = threading.Event()

    def folder_made():
        (folder / "d").mkdir(0)

    def folder_aside():
        os.rename(folder / "d", folder / "aside")

    def link_there():
        (folder / "d").symlink_to(outside)

    def link_aside():
        os.unlink(folder / "d")

    def swap():
        while not ended.is_set():
            for step in (folder_made, folder_aside, link_there, link_aside):
                with contextlib.suppress(OSError):
                    step()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(500):
            with contextlib.suppress(OSError):
                remove(str(folder))
            with contextlib.suppress(OSError):
                folder.mkdir()
    finally:
        ended.set()
        thread.join()
    assert outside.stat().st_mode & 0o777 == 0o500
    assert (outside / "kept").exists()
    outside.chmod(0o700)


def test_a_folder_moved_elsewhere_meanwhile_does_not_take_its_neighbours_along(folder, tmp_path, monkeypatch):
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "victim").mkdir()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "victim" / "kept").mkdir(parents=True)
    emptied = folders._emptied

    def moving(here):
        todo = emptied(here)
        if "c" in todo:
            (folder / "a" / "b").rename(elsewhere / "b")
        return todo

    monkeypatch.setattr(folders, "_emptied", moving)
    with pytest.raises(OSError, match="moved"):
        remove(str(folder))
    assert (elsewhere / "victim" / "kept").exists()
    monkeypatch.undo()
    remove(str(folder))
    assert not folder.exists()
