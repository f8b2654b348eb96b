"""Messages to webhooks, in the shape that the place they go to takes."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from typing import Any
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

PATIENCE = 20.0
DISCORD_MOST = 2000


def _payload(name: str, url: str, message: str, event_data: Any, description: str | None) -> Any:
    host = urlsplit(url).hostname or ""
    if host == "hooks.slack.com" or host == "chat.googleapis.com":
        return {"text": message}
    if host in ("discord.com", "discordapp.com") and "/api/webhooks" in url:
        return {"content": message if len(message) < DISCORD_MOST else f"{message[: DISCORD_MOST - 20]}... (truncated)"}
    if host.endswith("webhook.office.com"):
        facts = [{"name": str(key), "value": str(value)} for key, value in (event_data or {}).items()]
        section = {"activityTitle": message, "activitySubtitle": description or name, "facts": facts}
        return {"@type": "MessageCard", "summary": message, "sections": [section]}
    return event_data


def _post(url: str, data: bytes) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("A webhook is a web address.")
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        answer.read(1)


async def post_webhook(
    name: str, url: str, message: str, event_data: Any = None, description: str | None = None
) -> bool:
    """Posts a message; returns whether it was taken. Goes where the function's policy lets it go."""
    try:
        data = json.dumps(_payload(name, url, message, event_data, description)).encode()
        await asyncio.to_thread(_post, url, data)
    except (OSError, ValueError, TypeError) as error:
        log.error("The webhook was not taken: %s", error)
        return False
    return True
