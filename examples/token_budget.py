"""
title: Token budget
author: webui-functions
version: 1.0.0
license: MIT
description: Gives each user a number of tokens a day, and refuses requests when they are spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, Field


class Filter:
    """Counts by estimate, in memory: a restart or an edit of this function begins a new count."""

    class Valves(BaseModel):
        # Early, so that a refused request costs nothing in the filters after it.
        priority: int = Field(default=-100, description="Filters with a lower number run first.")
        tokens_per_day: int = Field(default=100_000, ge=0, description="What each user may spend a day (UTC).")
        characters_per_token: float = Field(
            default=4.0, gt=0, description="For the estimate: about 4 for English, less for other languages and code."
        )
        exempt_admins: bool = Field(default=False, description="Let administrators spend without a limit.")

    class UserValves(BaseModel):
        tokens_per_day: int | None = Field(
            default=None, ge=0, description="A limit of your own, if you want one below the server's."
        )
        show_remaining: bool = Field(default=False, description="Say after each answer how many tokens are left.")

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.day: date | None = None
        self.spent: Counter[str] = Counter()

    # Both hooks are async and do not wait between reading and writing the count, so no lock is needed.

    async def inlet(self, body: dict[str, Any], __user__: dict[str, Any] | None = None) -> dict[str, Any]:
        """Counts the question, or refuses it with 429 when the user cannot afford it any more."""
        limit = self.limit(__user__)
        if limit is None:
            return body
        left = limit - self.spent_today()[user_id(__user__)]
        cost = self.estimate(*body["messages"])
        if cost > left:
            raise HTTPException(
                429,
                f"Your budget of {limit:,} tokens a day does not cover this request: it needs about {cost:,} tokens, "
                f"and {max(left, 0):,} are left. The count begins anew at midnight UTC.",
            )
        self.spent[user_id(__user__)] += cost
        return body

    async def outlet(
        self,
        body: dict[str, Any],
        __user__: dict[str, Any] | None = None,
        __event_emitter__: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
    ) -> dict[str, Any]:
        """Counts the answer. It may exceed the budget; the next question then finds nothing left."""
        limit = self.limit(__user__)
        if limit is None:
            return body
        self.spent_today()[user_id(__user__)] += self.estimate(body["messages"][-1])
        left = max(limit - self.spent[user_id(__user__)], 0)
        wishes = (__user__ or {}).get("valves")
        if __event_emitter__ and wishes and wishes.show_remaining:
            description = f"About {left:,} of {limit:,} tokens are left today."
            await __event_emitter__({"type": "status", "data": {"description": description, "done": True}})
        return body

    def limit(self, user: dict[str, Any] | None) -> int | None:
        """Returns how many tokens the user may spend a day, None when without a limit."""
        if self.valves.exempt_admins and user and user.get("role") == "admin":
            return None
        wishes = (user or {}).get("valves")
        own = wishes.tokens_per_day if wishes else None
        return self.valves.tokens_per_day if own is None else min(own, self.valves.tokens_per_day)

    def spent_today(self) -> Counter[str]:
        """Returns the count by user, a new one on a new day."""
        today = datetime.now(UTC).date()
        if today != self.day:
            self.day, self.spent = today, Counter()
        return self.spent

    def estimate(self, *messages: dict[str, Any]) -> int:
        """Returns about how many tokens the messages' text is, at least one a message."""
        characters = (sum(map(len, texts(message))) for message in messages)
        return sum(max(1, round(count / self.valves.characters_per_token)) for count in characters)


def user_id(user: dict[str, Any] | None) -> str:
    return (user or {}).get("id") or "anonymous"


def texts(message: dict[str, Any]) -> list[str]:
    """Returns the texts of a message; images and files are not counted."""
    content = message.get("content")
    if isinstance(content, list):
        return [part["text"] for part in content if isinstance(part.get("text"), str)]
    return [content] if isinstance(content, str) else []
