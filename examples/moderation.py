"""
title: Moderation
author: webui-functions
version: 1.0.0
license: MIT
description: Withholds a whole answer that contains a blocked word or matches a blocked pattern.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from pydantic import BaseModel, Field, field_validator

REASONING = ("reasoning_content", "reasoning")


class Filter:
    """Judges finished answers.

    A stream has left before it can be judged. So set this filter's policy to ``stream_mode: hold``: the server then
    keeps a streamed answer back until ``outlet`` has spoken.
    """

    class Valves(BaseModel):
        # Late, so that it judges what the other filters have made of the answer.
        priority: int = Field(default=100, description="Filters with a lower number run first.")
        words: list[str] = Field(
            default_factory=list,
            description="Blocked words and phrases. Upper and lower case are the same; parts of words do not count.",
        )
        patterns: list[str] = Field(
            default_factory=list, description="Blocked patterns: regular expressions as Python knows them."
        )
        notice: str = Field(
            default="This answer was withheld because it does not follow the rules of this server.",
            description="What the user sees in place of a blocked answer.",
        )

        @field_validator("patterns")
        @classmethod
        def compiles(cls, patterns: list[str]) -> list[str]:
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
            return patterns

    def __init__(self) -> None:
        self.valves = self.Valves()

    async def outlet(
        self, body: dict[str, Any], __event_emitter__: Callable[[dict[str, Any]], Awaitable[None]] | None = None
    ) -> dict[str, Any]:
        """Replaces the last answer by the notice if it is blocked."""
        answer = body["messages"][-1]
        if answer.get("role") == "assistant" and self.blocked("\n".join(texts(answer))):
            answer["content"] = self.valves.notice
            for reasoning in REASONING:
                answer.pop(reasoning, None)
            if answer.get("output"):  # Open WebUI shows these items rather than the content
                part = {"type": "output_text", "text": self.valves.notice}
                answer["output"] = [
                    {"type": "message", "status": "completed", "role": "assistant", "content": [part]},
                ]
            if __event_emitter__:
                await __event_emitter__(
                    {"type": "status", "data": {"description": "The answer was withheld.", "done": True}}
                )
        return body

    def blocked(self, text: str) -> bool:
        words = (rf"(?<!\w){re.escape(word.strip())}(?!\w)" for word in self.valves.words if word.strip())
        return any(re.search(pattern, text, re.IGNORECASE) for pattern in (*words, *self.valves.patterns))


def texts(message: dict[str, Any]) -> Iterator[str]:
    """Yields every text that a message shows: its content, its reasoning and the items of its output."""
    for content in (message.get("content"), *(item.get("content") for item in message.get("output") or [])):
        parts = content if isinstance(content, list) else [{"text": content}]
        yield from (part["text"] for part in parts if isinstance(part.get("text"), str))
    yield from (message[key] for key in REASONING if isinstance(message.get(key), str))
