"""Log lines that can be followed: each has the request's id, as text or as JSON.

Messages quote what clients send and what functions say: errors, refused hosts, the last words of a worker. So it is
here, where every record passes, that nothing in them can pass for another line or command a terminal.
"""

from __future__ import annotations

import json
import logging
import time
import unicodedata
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")

MORE = "    | "
"""Stands before every further line of a message."""
TRACE = "    ! "
"""Stands before every line of a traceback of the server's own."""


class RequestFilter(logging.Filter):
    """Gives each record the id of the request it belongs to, ``-`` outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class TextFormatter(logging.Formatter):
    """A record begins a line; what belongs to it below is marked, and control characters are shown as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [shown(self.formatMessage(record)).replace("\n", f"\n{MORE}")]
        # Not the text that a record keeps of its traceback: other handlers may have written it.
        if record.exc_info:
            lines += [TRACE + line for line in shown(self.formatException(record.exc_info)).split("\n")]
        if record.stack_info:
            lines += [TRACE + line for line in shown(self.formatStack(record.stack_info)).split("\n")]
        return "\n".join(lines)


class JSONFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: whatever is in a text, it stays in it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def shown(text: str) -> str:
    """Returns a text with escapes for all that acts on a terminal or reorders its line; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if _is_harmless(char) else char.encode("unicode_escape").decode("ascii") for char in text)


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or unicodedata.category(char) == "Zs"
