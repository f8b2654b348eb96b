"""What stands in the server's log was written by the server: no text that it quotes begins a line or moves a cursor."""

from __future__ import annotations

import json
import logging
import logging.config
import sys

import pytest

from webui_functions.observability import JSONFormatter, TextFormatter, shown

TEXT = TextFormatter("%(levelname)s %(message)s")


def record(message, *arguments, **more):
    return logging.LogRecord("sample", logging.WARNING, __file__, 1, message, arguments, more.get("exc_info"))


def test_an_ordinary_line_stays_as_it_is():
    assert TEXT.format(record("Filter '%s' failed: größer, 日本\u3000語, 🙂", "x")) == (
        "WARNING Filter 'x' failed: größer, 日本\u3000語, 🙂"
    )


def test_further_lines_of_a_message_are_marked():
    forged = "its last output: x\n2026-01-01 00:00:00 CRITICAL admin logged in\n    ! Traceback\n"
    assert TEXT.format(record("%s", forged)).split("\n") == [
        "WARNING its last output: x",
        "    | 2026-01-01 00:00:00 CRITICAL admin logged in",
        "    |     ! Traceback",
        "    | ",
    ]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb", r"a\rb"),
        ("a\x9b31mb\x85c\x7f\x00", r"a\x9b31mb\x85c\x7f\x00"),
        ("a\u2028b\u2029c\vd\fe", r"a\u2028b\u2029c\x0bd\x0ce"),
        ("abc\u202edcba\u2066", r"abc\u202edcba\u2066"),
        ("\udc80 \ud800", r"\udc80 \ud800"),
        ("a\tb", "a\tb"),
    ],
)
def test_what_acts_on_a_terminal_is_shown_as_an_escape(text, seen):
    assert shown(text) == seen
    assert TEXT.format(record("said: %s", text)) == f"WARNING said: {seen}"


def test_a_traceback_has_a_mark_that_no_message_can_have():
    try:
        raise ValueError("x\x1b[2J\nCRITICAL forged")
    except ValueError:
        made = record("It failed", exc_info=sys.exc_info())
    made.exc_text = "Traceback as another handler wrote it\x1b[2J"
    first, *rest = TEXT.format(made).split("\n")
    assert first == "WARNING It failed"
    assert rest[0] == "    ! Traceback (most recent call last):"
    assert rest[-2:] == [r"    ! ValueError: x\x1b[2J", "    ! CRITICAL forged"]
    assert all(line.startswith("    ! ") for line in rest)


def test_json_is_one_line_whatever_is_said():
    line = JSONFormatter().format(record("%s", "a\nb\x1b[2J\u2028\udc80"))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == "a\nb\x1b[2J\u2028\udc80"


@pytest.mark.parametrize("name", ["django.request", "uvicorn.error", "uvicorn.access", "pipeline_app", "asyncio"])
def test_every_logger_writes_through_the_formatters_of_the_settings(settings, name):
    logging.config.dictConfig(settings.LOGGING)
    found, logger = [], logging.getLogger(name)
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    own = [handler for handler in found if isinstance(handler.formatter, (TextFormatter, JSONFormatter))]
    assert len(own) == 1
    assert [handler for handler in found if handler.formatter is None and type(handler) is logging.StreamHandler] == []
