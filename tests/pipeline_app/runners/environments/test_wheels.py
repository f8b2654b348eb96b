"""The wheels of a lock, fetched from an index on loopback."""

from __future__ import annotations

import pytest

from functions_app.runtime import RequirementError
from pipeline_app.runners.environments import wheels
from tests.wheels import Index, make_wheel, sha256


@pytest.fixture
def index(shop, settings, monkeypatch):
    """An index that uv may ask, with a folder of its own."""
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("UV_FIND_LINKS")
    folder = shop / "shelf"
    folder.mkdir()
    with Index(folder) as running:
        settings.FUNCTIONS_INDEX_URL = running.url
        yield running


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_each_package_of_a_lock_comes_as_one_file(index, target):
    lock = make_wheel(index.folder, "lens", "1.0") + make_wheel(index.folder, "glass", "2.0")
    make_wheel(index.folder, "lens", "3.0")
    said: list[str] = []
    found = wheels.fetch(lock, target, said.append)
    assert [path.name for path in found] == ["lens-1.0-py3-none-any.whl", "glass-2.0-py3-none-any.whl"]
    assert all(sha256(path) == sha256(index.folder / path.name) for path in found)
    assert said[-2:] == ["Fetched lens-1.0-py3-none-any.whl", "Fetched glass-2.0-py3-none-any.whl"]


def test_what_another_platform_needs_is_left_out(index, target):
    lock = make_wheel(index.folder, "lens", "1.0")
    marked = make_wheel(index.folder, "glass", "2.0").replace("2.0 ", '2.0 ; sys_platform == "never" ')
    assert [path.name for path in wheels.fetch(lock + marked, target)] == ["lens-1.0-py3-none-any.whl"]
    assert wheels.fetch("", target) == []


def test_the_file_that_fits_best_is_taken(index, target):
    lock = make_wheel(index.folder, "lens", "1.0")
    best = make_wheel(index.folder, "lens", "1.0", tag="cp311-none-any")
    other = make_wheel(index.folder, "lens", "1.0", tag="cp27-none-win32")
    hashes = "".join(" \\\n    " + line.split()[-1] for line in (best, other))
    (found,) = wheels.fetch(lock.rstrip() + hashes, target)
    import sys

    assert found.name == (
        "lens-1.0-cp311-none-any.whl" if sys.version_info[:2] == (3, 11) else "lens-1.0-py3-none-any.whl"
    )


def test_the_password_of_an_index_is_sent_to_it(index, target, settings):
    lock = make_wheel(index.folder, "lens", "1.0")
    index.password = "s3cret"
    settings.FUNCTIONS_INDEX_URL = index.url.replace("://", "://user:s3cret@")
    assert wheels.fetch(lock, target)


def test_a_file_that_was_replaced_is_not_to_be_had(index, target):
    lock = make_wheel(index.folder, "lens", "1.0")
    make_wheel(index.folder, "lens", "1.0", files={"more.py": "x = 1\n"})
    with pytest.raises(RequirementError) as caught:
        wheels.fetch(lock, target)
    assert (caught.value.code, str(caught.value)) == (
        "no_wheel",
        (
            "The wheel of lens 1.0 that was locked is not to be had any more where packages come from. Resolve the "
            "requirements anew: manage.py install_requirements --upgrade."
        ),
    )


def test_a_file_that_changes_on_the_way_is_refused(index, target, monkeypatch):
    lock = make_wheel(index.folder, "lens", "1.0")
    answer = index.answer

    def changed(request):
        if request.path.startswith("/files/"):
            index._send(request, 200, b"something else")
        else:
            answer(request)

    monkeypatch.setattr(index, "answer", changed)
    with pytest.raises(RequirementError, match="its hash differs") as caught:
        wheels.fetch(lock, target)
    assert caught.value.code == "hash"


def test_an_index_that_fails_meanwhile_is_said_without_its_password(index, target, settings, monkeypatch):
    lock = make_wheel(index.folder, "lens", "1.0")
    index.password = "s3cret"
    settings.FUNCTIONS_INDEX_URL = index.url.replace("://", "://user:s3cret@")
    answer = index.answer
    monkeypatch.setattr(
        index,
        "answer",
        lambda request: index._send(request, 403, b"no") if "/files/" in request.path else answer(request),
    )
    with pytest.raises(RequirementError) as caught:
        wheels.fetch(lock, target)
    assert caught.value.code == "network"
    assert str(caught.value) == "lens-1.0-py3-none-any.whl cannot be fetched from 127.0.0.1: Forbidden. Try again."


def test_a_file_larger_than_a_set_may_be_is_not_fetched(index, target, settings):
    lock = make_wheel(index.folder, "lens", "1.0", files={"data": bytes(range(256)) * 20})
    settings.FUNCTIONS_BUILD_MB = 0.0001
    with pytest.raises(RequirementError, match="FUNCTIONS_BUILD_MB"):
        wheels.fetch(lock, target)


def test_a_lock_with_options_is_refused(index, target):
    with pytest.raises(RequirementError, match="no exact version"):
        wheels.fetch("--index-url https://example.org\n", target)


def test_wheels_of_a_folder_are_copied(market, target):
    lock = make_wheel(market, "lens", "1.0")
    assert [path.name for path in wheels.fetch(lock, target)] == ["lens-1.0-py3-none-any.whl"]
