from __future__ import annotations

import io

from django.core.management.base import OutputWrapper

from functions_app.management.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, total: int) -> str:
    progress = Progress(OutputWrapper(stream))
    with progress.bar("Writing", total) as advance:
        for number in range(total):
            advance(f"[f{number}]")
    return stream.getvalue()


def test_without_a_terminal_there_are_few_plain_lines():
    assert shown(io.StringIO(), 5) == "Writing: 5\n"
    assert shown(io.StringIO(), 200).splitlines() == [
        "Writing: 200", *(f"Writing: {done} of 200" for done in range(20, 200, 20)),
    ]  # fmt: skip


def test_on_a_terminal_there_is_a_bar_that_goes_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = shown(Terminal(), 3)
    assert "Writing" in text and "0/3" in text
    assert "Writing: 3" not in text
