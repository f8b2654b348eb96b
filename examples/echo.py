"""
title: Echo
author: webui-functions
version: 1.0.0
license: MIT
description: Answers with your own last message, word by word. The smallest pipe that streams.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, Field


class Pipe:
    class Valves(BaseModel):
        pause: float = Field(default=0.0, ge=0.0, le=10.0, description="Seconds to wait before each word.")

    def __init__(self) -> None:
        self.valves = self.Valves()

    async def pipe(self, body: dict[str, Any]) -> AsyncIterator[str]:
        """Yields the last user message word by word; the server makes a stream or one answer of it."""
        text = last_user_text(body["messages"])
        for word in re.findall(r"\s*\S+|\s+", text) or ["(your message has no text)"]:
            if self.valves.pause:
                await asyncio.sleep(self.valves.pause)
            yield word


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Returns the text of the last message with the role user, empty when there is none."""
    content = next((message.get("content") for message in reversed(messages) if message.get("role") == "user"), "")
    if isinstance(content, list):  # text, images and files, as parts
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""
