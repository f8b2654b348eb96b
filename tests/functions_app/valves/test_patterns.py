from __future__ import annotations

import pytest

from functions_app.valves.patterns import Pattern, PatternError


@pytest.mark.parametrize(
    ("text", "found", "missing"),
    [
        ("^[a-z]{2}$", "de", "deu"),
        ("^[a-z]{2}$", "de", "de\n"),
        ("b+", "abba", "aha"),
        (r"^\d+(\.\d+)?$", "1.5", "1."),
        ("^(en|de|fr)$", "fr", "it"),
        ("^Grüße$", "Grüße", "Grusse"),
    ],
)
def test_it_is_found_anywhere_unless_it_names_the_ends(text, found, missing):
    assert Pattern(text).found_in(found)
    assert not Pattern(text).found_in(missing)


@pytest.mark.parametrize(
    ("text", "value"),
    [("(a+)+$", "a" * 1999 + "!"), ("(a|aa)+$", "a" * 1999 + "!"), (".*.*.*.*.*x", "a" * 2000)],
)
def test_a_value_cannot_make_it_run_away(text, value):
    # Python's own engine would still be busy with these when the sun goes out.
    assert not Pattern(text).found_in(value)


def test_a_text_that_is_too_long_or_no_unicode_is_not_looked_through():
    assert not Pattern("a").found_in("a" * 2001)
    assert not Pattern("a").found_in("a\ud800")


@pytest.mark.parametrize(
    "text", ["(", ")", "[a", "\\", "*a", "a{3,1}", "[z-a]", "(?=a)", r"(a)\1", "(((a{100}){100}){100}){100}", "\ud800"]
)
def test_what_cannot_be_matched_in_linear_time_is_refused_with_a_sentence(text, capfd):
    with pytest.raises(
        PatternError, match=r"^(RE2 does not take this pattern: .+|The pattern is not valid Unicode)\.$"
    ):
        Pattern(text)
    assert capfd.readouterr().err == ""


def test_a_pattern_has_a_bearable_length():
    with pytest.raises(PatternError, match="at most 500 characters, this one has 501"):
        Pattern("a" * 501)
