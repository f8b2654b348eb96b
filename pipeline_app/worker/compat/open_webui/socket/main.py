"""The way to the client of the running hook: its emitter and its caller, by the names that they have here."""

from __future__ import annotations

from typing import Any

from pipeline_app.worker.scope import current

from .._either import either

Json = dict[str, Any]

SESSION_POOL: Json = {}
USAGE_POOL: Json = {}
_EVENTS = ("events", "chat-events", "events:chat", "events:channel")


def _call() -> Any:
    scope = current.get()
    return scope.work() if scope is not None and scope.work is not None else None


@either
def get_event_emitter(request_info: Any = None, update_db: bool = True) -> Any:
    """Returns the emitter of the running hook: events reach its client, and no other. None outside of a call."""
    call = _call()
    return None if call is None else call.emitter()


@either
def get_event_call(request_info: Any = None) -> Any:
    """Returns the function that asks the client of the running hook. None outside of a call."""
    call = _call()
    return None if call is None else call.caller()


class Server:
    """``sio``: what is sent to rooms of the caller's goes to the client of the running hook; to others, nowhere."""

    async def emit(self, event: str, data: Any = None, room: Any = None, to: Any = None, **_: Any) -> None:
        """Sends an event as the emitter does."""
        call = _call()
        if call is None or event not in _EVENTS or not self._is_own(call, room or to):
            return
        told = data.get("data") if isinstance(data, dict) and isinstance(data.get("data"), dict) else data
        await call.emitter()(told if isinstance(told, dict) and "type" in told else {"type": event, "data": data})

    async def call(self, event: str, data: Any = None, room: Any = None, to: Any = None, **_: Any) -> Any:
        """Asks the client of the running hook."""
        call = _call()
        if call is None:
            return None
        return await call.caller()(data.get("data", data) if isinstance(data, dict) else {"type": event, "data": data})

    async def enter_room(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: a hook has one client."""

    async def leave_room(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: a hook has one client."""

    @staticmethod
    def _is_own(call: Any, room: Any) -> bool:
        user = call.context.get("user") or {}
        session = call.context.get("session_id")
        return room is None or room == f"user:{user.get('id')}" or (session is not None and room == session)


sio = Server()


@either
def emit_to_users(event: str, data: Any, user_ids: list[str]) -> None:
    """Does nothing: only the client of the running hook can be told of anything, by its emitter."""
