"""Differences between sources."""

from __future__ import annotations

import pytest

from functions_app import difference
from functions_app.difference import only_line_ends, unified


def test_sources_with_the_same_lines_do_not_differ():
    assert unified("a\nb", "a\nb") == ""
    assert unified("a\r\nb\r", "a\nb\n") == ""
    assert only_line_ends("a\r\nb\r", "a\nb\n")
    assert not only_line_ends("a\n", "a\n")
    assert not only_line_ends("a\n", "a")


def test_a_diff_names_both_sides():
    assert unified("a\nb\nc", "a\nB\nc").split("\n") == [
        "--- selected.py", "+++ production.py", "@@ -1,3 +1,3 @@", " a", "-b", "+B", " c",
    ]  # fmt: skip


def test_a_form_feed_ends_no_line():
    assert unified("a\x0cb", "a\nb") != ""
    assert not only_line_ends("a\x0cb", "a\nb")


@pytest.mark.parametrize(
    ("before", "after", "hunk"),
    [
        ("a\nb\nc\nd", "a\nx\ny\nd", ["@@ -2,2 +2,2 @@", "-b", "-c", "+x", "+y"]),
        ("a\nd", "a\nx\nd", ["@@ -1,0 +2,1 @@", "+x"]),
        ("a\nx\nd", "a\nd", ["@@ -2,1 +1,0 @@", "-x"]),
        ("a\na\na", "a\na", ["@@ -3,1 +2,0 @@", "-a"]),
    ],
)
def test_what_is_too_much_to_compare_goes_and_comes_as_a_whole(before, after, hunk, monkeypatch):
    monkeypatch.setattr(difference, "MOST", -1)
    assert unified(before, after).split("\n")[2:] == hunk
