"""The catalogue of system events, so that functions can compare names. Those that occur here are fewer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

from pipeline_app.worker.arguments import EventObject as Event

__all__ = ["EVENTS", "EVENT_DEFINITIONS_BY_NAME", "Event", "EventDefinition", "publish_event"]

_OPERATIONS = {
    "system.startup": "started completed",
    "system.shutdown": "started completed",
    "config": "imported updated",
    "config.webhook": "updated",
    "config.connections": "updated",
    "config.tool_servers": "updated",
    "config.terminal_servers": "updated",
    "config.code_execution": "updated",
    "config.models": "updated",
    "config.banners": "updated",
    "config.suggestions": "updated",
    "auth": "signup login sessions_revoked logout password_changed",
    "auth.mfa": (
        "enrolled replaced failed throttled recovery_used recovery_codes_regenerated reset_requested "
        "reset_completed policy_changed"
    ),
    "auth.api_key": "created deleted",
    "auth.oauth_session": "deleted",
    "user": "created updated deleted role_updated status_updated settings_updated profile_updated permissions_updated",
    "group": "created updated deleted member_added member_removed",
    "chat": (
        "created finished failed imported updated deleted deleted_all compacted pinned unpinned cloned "
        "archived unarchived shared unshared folder_updated tag_added tag_removed"
    ),
    "message": "created updated deleted event_received reaction_added reaction_removed pinned unpinned",
    "channel": "created updated deleted member_added member_removed member_active_updated message",
    "channel.webhook": "created updated deleted",
    "file": "uploaded content_updated renamed deleted deleted_all",
    "folder": "created updated parent_updated access_updated deleted",
    "note": "created updated access_updated pinned unpinned deleted",
    "memory": "created updated deleted reset",
    "knowledge": "created updated deleted reset reindexed access_updated",
    "knowledge.file": "added updated removed moved",
    "knowledge.directory": "created updated deleted",
    "knowledge.external_connection": "created updated deleted",
    "retrieval.content": "processed process_failed",
    "retrieval.collection": "deleted",
    "retrieval.vector_db": "reset",
    "retrieval.uploads": "reset",
    "model": "created imported synced updated deleted enabled disabled access_updated",
    "model.provider_config": "updated",
    "model.provider_request": "failed",
    "model.provider_model": "created deleted",
    "function": "created updated deleted enabled disabled enable_started disable_started valves_updated",
    "tool": "created updated deleted access_updated valves_updated",
    "skill": "created updated deleted enabled disabled",
    "prompt": "created updated deleted enabled disabled version_updated access_updated",
    "pipeline": "uploaded added deleted valves_updated",
    "calendar": "created updated deleted default_updated alert",
    "calendar.event": "created updated deleted rsvp_updated",
    "automation": "created updated enabled disabled deleted run_started run_completed run_failed",
    "feedback": "created updated deleted deleted_all",
    "image": "generated edited",
    "audio": "speech_requested transcription_requested",
    "terminal.session": "opened closed",
    "notification": "test manual",
}
"""The events by resource: a name is the resource, a dot and the operation."""


class EventDefinition(str):
    """One kind of event: its name, also as plain text, and what it is in words."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name, such as ``function.enabled``."""
        return str(self)

    @property
    def message(self) -> str:
        """The name in words."""
        return self.replace(".", " ").replace("_", " ").title()

    @property
    def description(self) -> str:
        """The name as a sentence."""
        return f"{self.message}."


EVENT_DEFINITIONS_BY_NAME: dict[str, EventDefinition] = {
    name: EventDefinition(name)
    for resource, operations in _OPERATIONS.items()
    for name in (f"{resource}.{operation}" for operation in operations.split())
}

EVENTS = SimpleNamespace(**{name.replace(".", "_").upper(): found for name, found in EVENT_DEFINITIONS_BY_NAME.items()})
"""The events as attributes: ``EVENTS.FUNCTION_ENABLED.name`` is ``function.enabled``."""


async def publish_event(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuses: what happens on the server is told of by the server alone."""
    raise NotImplementedError("open_webui.events: publish_event() is not available here; only the server publishes.")
