"""
title: Conversation report
author: webui-functions
version: 1.0.0
license: MIT
description: Counts messages, words, questions and code blocks of a conversation, and says how it is getting on.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, Field

Emitter = Callable[[dict[str, Any]], Awaitable[None]]


class Action:
    class Valves(BaseModel):
        priority: int = Field(default=0, description="Buttons with a lower number come first.")
        show_in_chat: bool = Field(default=True, description="Add the report to the message it was asked for at.")

    class UserValves(BaseModel):
        words_per_minute: int = Field(default=230, gt=0, description="How fast you read.")

    def __init__(self) -> None:
        self.valves = self.Valves()

    async def action(
        self,
        body: dict[str, Any],
        __user__: dict[str, Any] | None = None,
        __event_emitter__: Emitter | None = None,
    ) -> dict[str, Any]:
        """Returns the report as text and as figures, and reports each step as a status event."""
        messages = body.get("messages") or []
        if not messages:
            raise HTTPException(400, "There is nothing to report on: the request has no messages.")

        async def emit(kind: str, **data: Any) -> None:
            if __event_emitter__:
                await __event_emitter__({"type": kind, "data": data})

        await emit("status", description=f"Reading {len(messages)} messages", done=False)
        texts = [text_of(message) for message in messages]

        await emit("status", description="Counting", done=False)
        wishes = (__user__ or {}).get("valves")
        figures = count(messages, texts, wishes.words_per_minute if wishes else 230)
        report = "\n".join(f"- {name.replace('_', ' ').capitalize()}: {value:,}" for name, value in figures.items())

        if self.valves.show_in_chat:
            await emit("message", content=f"\n\n**Conversation report**\n\n{report}\n")
        await emit("status", description="The report is ready", done=True)
        return {"content": report, "figures": figures}


def count(messages: list[dict[str, Any]], texts: list[str], words_per_minute: int) -> dict[str, int]:
    whole = "\n".join(texts)
    words = len(re.findall(r"\w+", whole))
    questions = (
        text.count("?") for text, message in zip(texts, messages, strict=True) if message.get("role") == "user"
    )
    return {
        "messages": len(messages),
        "words": words,
        "minutes_to_read": -(-words // words_per_minute),
        "questions_asked": sum(questions),
        "code_blocks": whole.count("```") // 2,
        "links": len(re.findall(r"https?://", whole)),
    }


def text_of(message: dict[str, Any]) -> str:
    """Returns the text of a message, without its images and files."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""
