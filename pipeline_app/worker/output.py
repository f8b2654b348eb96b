"""What author code prints and logs during a call, kept with the call instead of the server's console."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, TextIO

from .jsonable import printed
from .jsonable import text as plain
from .scope import current

LIMIT = 64 * 1024
_LONGEST_LEVEL = 20


class Output:
    """The captured lines of one call: ``[{"stream" | "level", "text"}]``, together at most 64 KB."""

    __slots__ = ("_left", "_lines", "_lock", "_partial")

    def __init__(self) -> None:
        self._lines: list[dict[str, str]] | None = None
        self._partial: dict[str, str] | None = None
        self._left = LIMIT
        self._lock: Any = None

    def lines(self) -> list[dict[str, str]]:
        """Returns what was captured so far; a last line without an end counts."""
        if self._lines is None:
            return []
        with self._lock:
            rest = [{"stream": stream, "text": part} for stream, part in (self._partial or {}).items() if part]
            return [*self._lines, *rest]

    def write(self, stream: str, written: str) -> None:
        """Takes text that was written to ``stdout`` or ``stderr``, in any pieces."""
        self._open()
        with self._lock:
            if self._left <= 0:
                return
            assert self._partial is not None
            *whole, rest = (self._partial.get(stream, "") + plain(written[: self._left + 1])).split("\n")
            for line in whole:
                self._add("stream", stream, line)
            self._partial[stream] = rest if len(rest) <= self._left else ""
            if len(rest) > self._left:
                self._add("stream", stream, rest)

    def log(self, level: str, message: str) -> None:
        """Takes one log record."""
        self._open()
        with self._lock:
            if self._left > 0:
                self._add("level", printed(level)[:_LONGEST_LEVEL], plain(message))

    def _open(self) -> None:
        if self._lock is None:  # made on first use: most calls print nothing
            self._partial = {}
            self._lines = []
            self._lock = threading.RLock()

    def _add(self, key: str, name: str, line: str) -> None:
        assert self._lines is not None
        if len(line) >= self._left:
            self._lines.append({key: name, "text": line[: self._left]})
            self._lines.append(
                {"stream": "stderr", "text": f"Output beyond {LIMIT // 1024} KB of this call is not kept."}
            )
            self._left = 0
        else:
            self._lines.append({key: name, "text": line})
            self._left -= len(line) + 1


class _Routed:
    """Stands in for ``sys.stdout`` or ``sys.stderr``: a running call's text goes to the call, other text on."""

    def __init__(self, name: str, target: TextIO) -> None:
        self._name = name
        self._target = target

    def write(self, written: str) -> int:
        scope = current.get()
        if scope is None:
            return self._target.write(written)
        if not isinstance(written, str):
            raise TypeError(f"write() argument must be str, not {type(written).__name__}")
        scope.output.write(self._name, written)
        return len(written)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if current.get() is None:
            self._target.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


class _Handler(logging.Handler):
    """Gives the log records of a running call to the call, and others to standard error when nobody else does."""

    def emit(self, record: logging.LogRecord) -> None:
        scope = current.get()
        if scope is not None:
            try:
                message = self.format(record)
            except Exception as trouble:  # the author's format string and arguments do not fit
                message = f"{printed(record.msg)} (the log record cannot be formatted: {printed(trouble)})"
            scope.output.log(record.levelname, message)
        elif len(logging.root.handlers) == 1 and (last := logging.lastResort) and record.levelno >= last.level:
            # In a worker nobody else takes what is logged outside of calls, such as by a thread of the author's.
            last.handle(record)


_handler = _Handler()


def install() -> None:
    """Routes the process's output by call. Cheap to repeat: somebody else may have replaced the streams since."""
    if type(sys.stdout) is not _Routed and sys.stdout is not None:
        sys.stdout = _Routed("stdout", sys.stdout)
    if type(sys.stderr) is not _Routed and sys.stderr is not None:
        sys.stderr = _Routed("stderr", sys.stderr)
    if _handler not in logging.root.handlers:
        logging.root.addHandler(_handler)
