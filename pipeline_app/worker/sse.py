"""Text that author code hands over in pieces, cut into what the client gets: text, and the frames of an SSE body.

Pipes yield plain text, ``data: {...}`` lines, raw chunks of somebody else's SSE body cut anywhere, lines of
``iter_lines`` without their ends, and mixtures. What is not clearly a frame is text and comes out unchanged.
"""

from __future__ import annotations

import codecs
import json
from typing import Any, Final

from .jsonable import jsonable

FIELDS = ("event:", "id:", "retry:", ":")
LONGEST_UNDECIDED = 64 * 1024
LONGEST_FRAME = 32 * 1024 * 1024

_decode = json.JSONDecoder(parse_constant=lambda _: None).decode

# What a line is. FIELD: belongs to SSE but carries nothing. MAYBE: more of it decides.
TEXT: Final = "text"
BLANK: Final = "blank"
FIELD: Final = "field"
FRAME: Final = "frame"
MAYBE: Final = "maybe"


class Cutter:
    """Feeds on pieces and returns items: ``str`` for text, ``dict`` for a frame.

    It begins undecided, for a body may start with comments and field lines. The first frame makes it read
    lines as SSE does; the first other line makes it pass text through, where only a piece that itself begins
    with ``data: {`` counts as a frame (as Open WebUI reads pieces), so prose about SSE stays prose.
    """

    def __init__(self) -> None:
        self._mode = "undecided"
        self._before = ""  # undecided: field lines, comments and blank lines that are dropped once a frame follows
        self._held = ""  # the beginning of a line that is not decided yet
        self._inside: str | None = None  # in the middle of a line: TEXT passes, FIELD is dropped
        self._frame_open = False  # a frame came without its line end
        self._by_line = False  # pieces are lines without ends
        self._utf8: codecs.IncrementalDecoder | None = None

    def feed(self, piece: str | bytes) -> list[Any]:
        """Returns the items that this piece completes."""
        if isinstance(piece, str):
            if self._utf8 is not None:
                rest = self._utf8.decode(b"", True)
                self._utf8 = None
                if rest:
                    return self._feed(rest) + self._feed(piece)
            if self._mode == "text" and not self._held and not piece.startswith("data:"):
                return [piece] if piece else []
            return self._feed(piece)
        if self._utf8 is None:
            self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        return self._feed(self._utf8.decode(piece))

    def end(self) -> list[Any]:
        """Returns what was held back, at the end of the stream."""
        out = self._feed(self._utf8.decode(b"", True)) if self._utf8 is not None else []
        held, self._held = self._held, ""
        before, self._before = self._before, ""
        if self._mode == "sse" and _kind(held, True)[0] != TEXT:
            held = ""
        if before or held:
            out.append(before + held)
        return out

    def _feed(self, piece: str) -> list[Any]:
        if not piece:
            return []
        out: list[Any] = []
        self._at_piece_start(piece, out)
        if self._mode == "text":
            piece = self._text(piece, out)
        if piece:
            self._lines(piece, out)
        return out

    def _at_piece_start(self, piece: str, out: list[Any]) -> None:
        """Finds line ends that are not written: those between the pieces of ``iter_lines``."""
        if self._frame_open:
            self._frame_open = False
            self._by_line = self._by_line or piece[0] not in "\r\n"
        starts = piece.startswith("data:")
        if starts or self._by_line:
            if self._held.startswith("data:") and (self._by_line or _kind(piece.partition("\n")[0], True)[0] == FRAME):
                out.append(self._before + self._held)  # a broken frame, for a whole one follows it
                self._before = self._held = ""
            elif self._by_line and self._mode == "sse" and self._held:
                out.append(self._held)
                self._held = ""
            if self._inside == FIELD:
                self._inside = None
            elif self._mode == "undecided" and self._held and _kind(self._held, True)[0] == FIELD:
                self._before += self._held
                self._held = ""

    def _text(self, piece: str, out: list[Any]) -> str:
        """Passes a piece through in text mode; returns what is left to read as SSE once a frame was found."""
        buffer = self._held + piece
        self._held = ""
        if not buffer.startswith("data:"):
            out.append(buffer)
            return ""
        line, end, rest = buffer.partition("\n")
        kind, value = _kind(line, bool(end))
        if kind == FRAME:
            self._mode = "sse"
            self._frame_open = not end
            if value is not None:
                out.append(value)
            return rest
        if kind == MAYBE and "{" in line and len(line) < LONGEST_FRAME:
            self._held = buffer
        else:
            out.append(buffer)
        return ""

    def _lines(self, piece: str, out: list[Any]) -> None:
        """Reads a piece line by line, while undecided or in an SSE body."""
        buffer = self._held + piece
        self._held = ""
        while buffer:
            if self._inside is not None:
                line, end, buffer = buffer.partition("\n")
                if self._inside == TEXT:
                    out.append(line + end)
                if end:
                    self._inside = None
                continue
            line, end, rest = buffer.partition("\n")
            kind, value = _kind(line, bool(end))
            if kind == MAYBE and len(line) < (LONGEST_UNDECIDED if not line.startswith("data:") else LONGEST_FRAME):
                self._held = line
                return
            if kind == FRAME:
                self._mode = "sse"
                self._before = ""
                self._frame_open = not end
                if value is not None:
                    out.append(value)
            elif kind in (TEXT, MAYBE):
                if self._mode == "undecided" or not line.startswith("data:"):
                    self._mode = "text"
                    out.append(self._before + buffer)
                    self._before = ""
                    return
                out.append(line + end)
                self._inside = None if end else TEXT
            elif self._mode == "undecided":
                if len(self._before) + len(line) > LONGEST_UNDECIDED:
                    self._mode = "text"
                    out.append(self._before + buffer)
                    self._before = ""
                    return
                if not end:
                    self._held = line
                    return
                self._before += line + end
            elif kind == FIELD and not end:
                self._inside = FIELD
            buffer = rest


def _kind(line: str, whole: bool) -> tuple[str, dict[str, Any] | None]:
    """Returns what a line, or the part of it that has come, is; for a frame also its object (None for ``[DONE]``)."""
    if line.startswith("data:"):
        data = line[5:].strip()
        if not data:
            return (FIELD if whole else MAYBE), None
        if data == "[DONE]":
            return FRAME, None
        if data[0] == "{":
            value = _object(data) if data[-1] == "}" else None
            if value is not None:
                return FRAME, value
            return (TEXT if whole else MAYBE), None
        return (MAYBE if not whole and "[DONE]".startswith(data) else TEXT), None
    bare = line[:-1] if line.endswith("\r") else line
    if not bare:
        return (BLANK if whole or not line else MAYBE), None
    if line.startswith(FIELDS):
        return FIELD, None
    if not whole and any(field.startswith(line) for field in ("data:", *FIELDS)):
        return MAYBE, None
    return TEXT, None


def _object(data: str) -> dict[str, Any] | None:
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return jsonable(value) if "\\ud" in data or "\\uD" in data else value
