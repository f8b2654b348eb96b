"""Streams for HTTP/1.0 clients, among them proxies in their default configuration.

They know no chunked encoding, yet uvicorn's fast parser would use it for every answer without a
length. The end of such an answer is the end of the connection.
"""

from __future__ import annotations

from typing import Any


class _Unknown(int):
    """A length that any number of bytes fits into, and that is reached whenever the answer ends."""

    def __lt__(self, other: int) -> bool:
        return False

    def __sub__(self, other: int) -> _Unknown:
        return self


def ends_with_the_connection(send: Any) -> bool:
    """Makes an answer that was not begun yet go out as it is, without chunks; False when the server can't do it."""
    cycle = getattr(send, "__self__", None)
    if getattr(cycle, "chunked_encoding", False) is not None or not hasattr(cycle, "expected_content_length"):
        return False
    cycle.chunked_encoding = False  # type: ignore[union-attr]  # what hasattr has just said
    cycle.expected_content_length = _Unknown()  # type: ignore[union-attr]
    return True
