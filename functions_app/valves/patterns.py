"""Patterns that administrators put on values, matched by RE2.

Users choose the values, and Python's own engine can be made to run for years by a harmless-looking pattern such as
``(a+)+$``. RE2 needs time that grows with the value's length only, and refuses what cannot be matched that way: back
references, looking ahead or behind.
"""

from __future__ import annotations

from functools import lru_cache

import re2

MOST_CHARACTERS = 500
LONGEST_VALUE = 2_000
MEMORY = 1024 * 1024
"""Bytes that one pattern may take; repetitions of repetitions grow beyond any."""


class PatternError(ValueError):
    """The pattern is no regular expression of this kind; the message says why."""


class Pattern:
    """A pattern that is found anywhere in a text, as in a JSON schema; ``^`` and ``$`` stand for its two ends."""

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise PatternError(f"A pattern has at most {MOST_CHARACTERS} characters, this one has {len(text)}.")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MEMORY
        options.never_capture = True
        try:
            self._expression = re2.compile(text, options=options)
        except re2.error as error:
            raise PatternError(f"RE2 does not take this pattern: {_said(error)}.") from None
        except UnicodeEncodeError:
            raise PatternError("The pattern is not valid Unicode.") from None

    def found_in(self, text: str) -> bool:
        """Whether the pattern is found; a text longer than ``LONGEST_VALUE`` is never looked through."""
        if len(text) > LONGEST_VALUE:
            return False
        try:
            return self._expression.search(text) is not None
        except UnicodeEncodeError:  # half of a surrogate pair, which no pattern means
            return False


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).rstrip(".")


@lru_cache(maxsize=256)
def pattern(text: str) -> Pattern:
    """Returns a pattern, made once. Raises ``PatternError``."""
    return Pattern(text)
