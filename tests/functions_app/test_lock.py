from __future__ import annotations

import pytest
from packaging.version import Version

from functions_app import lock

A, B = "a" * 64, "b" * 64


def test_a_lock_is_exact_versions_with_the_hashes_of_their_files():
    text = (
        f"# written by uv\nSome_Thing==1.2 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n    # via other\n"
        f"other==2 ; python_version < '3' --hash=sha256:{A}\n"
    )
    first, second = lock.read(text)
    assert first == lock.Pin("some-thing", Version("1.2"), frozenset({A, B}), None)
    assert (first.is_wanted, second.is_wanted) == (True, False)


def test_an_empty_lock_pins_nothing():
    assert lock.read("# nothing\n\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "-r /etc/passwd",
        "-e git+https://example.org/a.git",
        "thing @ file:///tmp/thing.whl",
        "thing==1.0",
        "thing>=1.0 --hash=sha256:" + A,
        "thing==1.* --hash=sha256:" + A,
        "thing==1.0 --hash=md5:" + A,
        "thing==1.0 --hash=sha256:" + A + " --index-url https://example.org",
        "thing==1.0 ; python_version < '4' --index-url x --hash=sha256:" + A,
        "# a comment\r--index-url https://example.org/simple",
        "thing==1.0 \\\n    --find-links / \\\n    --hash=sha256:" + A,
        "${HOME}==1.0 --hash=sha256:" + A,
        "thing==1.0--hash=sha256:" + A,
        "thing==1.0 --hash=sha256:" + A + "--hash=sha256:" + A,
        "thing==1.0 --hash=sha256:" + A + " ; python_version < '4'",
        "thing==1.0 --hash=",
        "thing==1.0 ; --hash=sha256:" + A,
    ],
)
def test_anything_else_is_refused(line):
    with pytest.raises(ValueError, match="The lock has a line that is no exact version with SHA-256 hashes"):
        lock.read(line)


def test_a_package_is_pinned_once():
    with pytest.raises(ValueError, match=r"The lock pins thing twice\."):
        lock.read(f"thing==1 --hash=sha256:{A}\nThing==2 --hash=sha256:{A}\n")


def test_lines_that_would_take_for_ever_are_refused():
    hashes = f" --hash=sha256:{A}" * 4000
    with pytest.raises(ValueError, match="no exact version"):
        lock.read(f"thing==1 ;{hashes} zzz")
    for blanks in (
        f"thing==1 ;{' ' * 190_000}x",
        f"thing==1{' ' * 190_000}x",
        f"thing==1 --hash=sha256:{' ' * 190_000}x",
    ):
        with pytest.raises(ValueError, match="no exact version"):
            lock.read(blanks)
    with pytest.raises(ValueError, match="longer than 200000 characters"):
        lock.read("thing==1" + " \\\n  x" * 200_000)
