"""What Event functions are told of a chat that has ended."""

from __future__ import annotations

from typing import Any

from functions_app.acting import API, Acting
from functions_app.system_events import Told
from pipeline_app.runs import Record
from pipeline_app.wire import text_of

NAMES = {"succeeded": "chat.finished", "failed": "chat.failed"}
"""The events by outcome; a chat that was cut short is told of by none."""


def of_chat(record: Record, metadata: dict[str, Any], said: Any) -> Told | None:
    """Returns the event of a chat whose answer's content is ``said``; None when there is none."""
    name = NAMES.get(record.outcome)
    if name is None:
        return None
    chat_id = str(metadata["chat_id"])
    message = record.error if name == "chat.failed" else text_of(said)
    data = {
        "chat_id": chat_id,
        "message_id": metadata["message_id"],
        "model_id": record.model,
        "user_id": record.person.id,
        "title": "",
        "url": "",
        "message": message,
        "run_id": str(record.id),
    }
    return Told(name, chat_id, data, message, acting=Acting(record.person.user, API))
