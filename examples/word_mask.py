"""
title: Word mask
author: webui-functions
version: 1.0.0
license: MIT
description: Masks unwanted words in answers while they stream, also words that arrive in several pieces.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field

TEXT_FIELDS = ("content", "reasoning_content", "reasoning")
# The stream that was silent the longest goes when there are more; it then loses what it holds back.
REMEMBERED_STREAMS = 10_000


class Filter:
    class Valves(BaseModel):
        priority: int = Field(default=0, description="Filters with a lower number run first.")
        words: list[str] = Field(
            default_factory=lambda: ["darn", "heck"],
            description="Words and phrases to mask. Upper and lower case are the same; parts of words stay.",
        )
        mask: str = Field(default="*", min_length=1, max_length=1, description="Shown in place of each character.")

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.streams: OrderedDict[str, dict[tuple[int, str], Tail]] = OrderedDict()

    async def inlet(self, body: dict[str, Any], __metadata__: dict[str, Any] | None = None) -> dict[str, Any]:
        """Gives the request a key, by which its chunks are recognised as one stream."""
        if __metadata__ is not None:
            __metadata__["word_mask"] = uuid4().hex
        return body

    async def stream(self, event: dict[str, Any], __metadata__: dict[str, Any] | None = None) -> dict[str, Any]:
        """Masks the text of one chunk. Its last letters wait for the next chunk if they may be half a word."""
        key = (__metadata__ or {}).get("word_mask")
        tails = self.tails(key) if key else {}
        matcher = Matcher.of(tuple(self.valves.words))
        for choice in event.get("choices") or []:
            delta = choice.get("delta") or {}
            for field in TEXT_FIELDS:
                tail = tails.setdefault((choice.get("index", 0), field), Tail())
                last = bool(choice.get("finish_reason")) or not key
                if delta.get(field) or (last and tail.held):
                    delta[field] = matcher.mask(tail, delta.get(field) or "", self.valves.mask, last)
                    choice["delta"] = delta
        return event

    def tails(self, key: str) -> dict[tuple[int, str], Tail]:
        """Returns what the stream holds back, by choice and field."""
        tails = self.streams.setdefault(key, {})
        self.streams.move_to_end(key)
        if len(self.streams) > REMEMBERED_STREAMS:
            self.streams.popitem(last=False)
        return tails

    async def outlet(self, body: dict[str, Any]) -> dict[str, Any]:
        """Masks the answer as a whole, for requests that do not stream."""
        matcher = Matcher.of(tuple(self.valves.words))
        for message in body["messages"]:
            if message.get("role") == "assistant" and isinstance(message.get("content"), str):
                message["content"] = matcher.mask(Tail(), message["content"], self.valves.mask, last=True)
        return body


@dataclass
class Tail:
    """How far a text has been shown."""

    held: str = ""  # not shown yet: it may turn out to be a word of the list
    inside_word: bool = False  # what was shown ended within a word


class Matcher:
    """Finds the words of a list, whole or begun."""

    def __init__(self, words: tuple[str, ...]) -> None:
        # Of two phrases that begin alike the longer one is tried first.
        self.words = words = sorted({word.strip() for word in words if word.strip()}, key=len, reverse=True)
        self.whole = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
        self.begun = re.compile(rf"(?<!\w)(?:{'|'.join(map(beginnings, words))})\Z", re.IGNORECASE)

    @staticmethod
    @lru_cache(maxsize=16)
    def of(words: tuple[str, ...]) -> Matcher:
        return Matcher(words)

    def mask(self, tail: Tail, text: str, character: str, last: bool) -> str:
        """Returns what can be shown of ``text``, masked, and keeps the rest in ``tail`` unless it is the last."""
        if not self.words:
            return text
        text = tail.held + text
        # The rest of a word whose beginning was shown already is no word of its own.
        start = len(re.split(r"\W", text, maxsplit=1)[0]) if tail.inside_word else 0
        begun = None if last else self.begun.search(text, start)
        end = begun.start() if begun else len(text)
        shown = text[:start] + self.whole.sub(lambda match: character * len(match[0]), text[start:end])
        tail.held = text[end:]
        if end:
            tail.inside_word = bool(re.match(r"\w", text[end - 1]))
        return shown


def beginnings(word: str) -> str:
    """Returns a pattern that matches ``word`` and each of its beginnings: ``d(?:a(?:r(?:n)?)?)?``."""
    first, *rest = map(re.escape, word)
    return first + "".join(f"(?:{letter}" for letter in rest) + ")?" * len(rest)
