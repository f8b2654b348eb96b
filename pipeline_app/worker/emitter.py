"""``__event_emitter__`` and ``__event_call__`` as the author sees them.

Both may be used from the call's loop, from a thread, and from a loop that the author started in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .answers import Event
from .jsonable import jsonable

if TYPE_CHECKING:
    from .calls import Call

Emitter = Callable[[Any], Awaitable[None]]
Caller = Callable[[Any], Awaitable[Any]]
PATIENCE = 64


class Unanswered(dict[str, Any]):
    """What a question gets that nobody can answer: Open WebUI's error, and false, so that it is no consent."""

    def __bool__(self) -> bool:
        return False


def event_of(value: Any) -> Event:
    """Returns a copy of an event in JSON types. Raises ``TypeError`` for what is no dict."""
    event = jsonable(value)
    if not isinstance(event, dict):
        raise TypeError(f'An event is a dict with "type" and "data", not a {type(value).__name__}.')
    return Event(event)


def make_emitter(call: Call) -> Emitter:
    """Returns the emitter of a call. It returns None, forwards unknown types, and never waits for the client.

    It lets others run now and then, and waits while too much of what was sent is outstanding.
    """
    sent = 0
    metadata = call.context.get("metadata") or {}
    request_info = {name: metadata.get(name) for name in ("user_id", "chat_id", "message_id", "session_id")}

    async def __event_emitter__(event: Any, *_: Any, **__: Any) -> None:
        # Published functions look for the chat's id in a dict that the emitter closes over: it is named for them.
        nonlocal sent, request_info
        call.send(event_of(event))
        sent += 1
        if sent % PATIENCE == 0 or call.crowded:
            await asyncio.sleep(0)
            channel = call.channel
            if channel is not None and channel.full and asyncio.get_running_loop() is call.loop:
                await channel.room()
            while call.crowded:
                await asyncio.sleep(0.002)

    return __event_emitter__


def make_caller(call: Call, ask: Callable[[Event], Awaitable[Any]] | None) -> Caller:
    """Returns the function that asks the client and waits for the answer.

    It gives an ``Unanswered`` where there is no client to ask (at once), it has gone, or no answer comes in time.
    """

    async def __event_call__(event: Any, *_: Any, **__: Any) -> Any:
        question = event_of(event)
        if ask is None:
            return Unanswered(error="Client session disconnected.")

        async def asking() -> Any:
            answer = await ask(question)
            # So an answer that is nothing but an error counts as none, whoever gives it.
            return Unanswered(answer) if isinstance(answer, dict) and list(answer) == ["error"] else answer

        home = call.loop
        if asyncio.get_running_loop() is home:
            return await asking()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking(), home))

    return __event_call__
