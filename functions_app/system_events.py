"""System events: what happened to the data and in chats, as Event functions are told of it.

An event is written into the outbox (``models.outbox``) in the transaction of what it tells of, and only for Event
functions that are active then. Delivering it is the pipeline's work.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from django.db import transaction

from functions_app.acting import Acting, acting

Json = dict[str, Any]

VERSION = "0.12.4"
"""The version of Open WebUI whose events these are."""
INSTANCE = str(uuid.uuid4())
"""Tells the process that wrote an event."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "system.startup.started": "",
        "system.startup.completed": "",
        "system.shutdown.started": "",
        "system.shutdown.completed": "",
        "auth.login": "user",
        "auth.logout": "user",
        "auth.api_key.created": "user",
        "auth.api_key.deleted": "user",
        "user.created": "user",
        "user.updated": "user",
        "user.deleted": "user",
        "user.role_updated": "user",
        "user.settings_updated": "user",
        "function.created": "function",
        "function.updated": "function",
        "function.deleted": "function",
        "function.enable_started": "function",
        "function.enabled": "function",
        "function.disable_started": "function",
        "function.disabled": "function",
        "function.valves_updated": "function",
        "model.created": "model",
        "model.updated": "model",
        "model.deleted": "model",
        "model.enabled": "model",
        "model.disabled": "model",
        "model.access_updated": "model",
        "file.uploaded": "file",
        "file.deleted": "file",
        "chat.finished": "chat",
        "chat.failed": "chat",
    }
)
"""The events that exist here, each with the type of its subject; docs/events.md has the same table."""

FAREWELL = "function.disable_started"
"""The one event that still reaches the function it tells of when that is switched off."""

TEXT_MOST = 1000
DEPTH_MOST = 20
_SECRET = re.compile(
    r"(password|hashed_password|token|access_token|refresh_token|id_token|api_key|secret|key|authorization|cookie"
    r"|webhook_token|.*_token|.*_secret|.*_api_key|.*_key)\Z",
    re.IGNORECASE,
).match

alarms: set[Callable[[], None]] = set()
"""Called, in any thread, whenever this process has committed events."""


class Told(NamedTuple):
    """One thing that happened. ``early`` events belong before the change: they go to who listened then, and to the
    function they tell of when it listens now. Without ``acting``, who acts now is the actor."""

    name: str
    subject_id: str | None = None
    data: Mapping[str, Any] = MappingProxyType({})
    message: str | None = None
    early: bool = False
    acting: Acting | None = None

    def payload(self) -> Json:
        """Returns the event as Event functions get it, with an id of its own."""
        kind, who = NAMES[self.name], self.acting or acting()
        resource, _, operation = self.name.rpartition(".")
        return {
            "schema": VERSION,
            "id": str(uuid.uuid4()),
            "event": self.name,
            "resource": resource,
            "operation": operation,
            "created_at": int(time.time()),
            "instance_id": INSTANCE,
            "version": VERSION,
            "source": who.source,
            "actor": who.actor(),
            "subject": {"type": kind, "id": self.subject_id} if kind and self.subject_id is not None else None,
            "data": sanitised(self.data),
            "message": sanitised(self.message),
        }


def sanitised(value: Any, depth: int = 0) -> Any:
    """Returns a value as JSON data without what looks like a secret, long texts cut."""
    if isinstance(value, Mapping):
        if depth > DEPTH_MOST:
            return {}
        kept = ((str(name), item) for name, item in value.items())
        return {name: sanitised(item, depth + 1) for name, item in kept if not _SECRET(name)}
    if isinstance(value, list | tuple | set | frozenset):
        return [sanitised(item, depth + 1) for item in value] if depth <= DEPTH_MOST else []
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = str(value)
    return text if len(text) <= TEXT_MOST else f"{text[:TEXT_MOST]}..."


def listeners(using: str | None = None) -> list[str]:
    """Returns the ids of the Event functions that are active, as this transaction sees them."""
    from functions_app.models import Function

    rows = Function.objects.using(using).active().of_kind(Function.Kind.EVENT)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def publish(told: Iterable[Told], using: str | None = None) -> None:
    """Writes events for all who listen. Call it inside the transaction of what they tell of."""
    told = list(told)
    if told and (now := listeners(using)):
        write(told, now, now, using)


def write(told: Sequence[Told], before: Collection[str], after: Collection[str], using: str | None = None) -> None:
    """Writes events for who listened before the change and who listens after it."""
    from functions_app.models import OutboxEvent

    rows = []
    for one in told:
        readers = set(before) if one.early else set(after)
        if one.early and one.subject_id is not None and one.subject_id in after:
            readers.add(one.subject_id)
        if readers:
            payload = one.payload()
            rows += [
                OutboxEvent(event_id=payload["id"], name=one.name, function=reader, payload=payload)
                for reader in sorted(readers)
            ]
    if rows:
        OutboxEvent._base_manager.using(using).bulk_create(rows, batch_size=500)
        transaction.on_commit(partial(_ring, tuple(alarms)), using=using, robust=True)


def _ring(bells: tuple[Callable[[], None], ...]) -> None:
    for ring in bells:
        ring()
