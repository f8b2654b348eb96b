"""The chat of the running request, as Open WebUI stores one: made of the request's own messages."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable
from typing import Any

from pipeline_app.worker.emitter import event_of
from pipeline_app.worker.jsonable import copy

from .._calling import caller_id, running_call

Json = dict[str, Any]

NOT_SAVED = ("temporary:", "local:", "channel:")
"""How ids of chats begin that Open WebUI stores nowhere, and finds nowhere."""
UNTITLED = "New Chat"

_stories: weakref.WeakKeyDictionary[Any, Story] = weakref.WeakKeyDictionary()


def running_chat(id: str | None) -> Story | None:
    """Returns the chat of the running request; None when it has none, or when its id is another than ``id``."""
    call = running_call()
    if call is None:
        return None
    metadata = call.context.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    chat_id = call.context.get("chat_id") or metadata.get("chat_id")
    if not chat_id or str(chat_id).startswith(NOT_SAVED) or (id is not None and str(id) != chat_id):
        return None
    if call not in _stories:
        _stories[call] = Story(call, str(chat_id), metadata)
    return _stories[call]


class Story:
    """A chat and what was changed of it in this call."""

    def __init__(self, call: Any, id: str, metadata: Json) -> None:
        self.id = id
        self.user_id = caller_id()
        self.title = str(metadata.get("title") or UNTITLED)
        self.tags: list[str] = []
        self.turned: dict[str, bool] = {}
        self.links: list[Json] = []
        self.messages: dict[str, Json] = {}
        self.current: str | None = None
        self._send = weakref.WeakMethod(call.send)
        self._begun = int(time.time())
        self._more: Json = {}
        self._answer = str(call.context.get("message_id") or metadata.get("message_id") or "")
        body = (
            call.payload if isinstance(call.payload, dict) and "messages" in call.payload else call.context.get("body")
        )
        body = body if isinstance(body, dict) else {}
        model = call.context.get("model") or metadata.get("model")
        found = body.get("model") or (model.get("id") if isinstance(model, dict) else model)
        self._models = [found] if isinstance(found, str) else []
        self._fill(body.get("messages"), metadata.get("user_message_id"))

    def _fill(self, messages: Any, asked_in: Any) -> None:
        told = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
        last = max((place for place, message in enumerate(told) if message.get("role") == "user"), default=-1)
        for place, message in enumerate(told):
            if message.get("role") == "system":
                self._more["system"] = message.get("content")
                continue
            id = message.get("id") or (asked_in if place == last else None) or f"{self.id}-{place}"
            self._add(str(id), copy(message))
        if self._answer and self._answer not in self.messages:
            self._add(self._answer, {"role": "assistant", "content": "", "done": False})

    def _add(self, id: str, message: Json) -> None:
        parent = message.get("parentId", self.current)
        self.messages[id] = {"timestamp": self._begun, **message, "id": id, "parentId": parent, "childrenIds": []}
        above = self.messages.get(str(parent))
        if above is not None:
            above["childrenIds"] = [*above["childrenIds"], id]
        self.current = id

    def to_wire(self) -> Json:
        """Returns the fields of a ``ChatModel``."""
        messages = copy(self.messages)
        return {
            "id": self.id,
            "user_id": self.user_id,
            "title": self.title,
            "chat": {
                "title": self.title,
                "models": list(self._models),
                "params": {},
                "files": [],
                "tags": list(self.tags),
                "timestamp": self._begun * 1000,
                **copy(self._more),
                "messages": list(messages.values()),
                "history": {"currentId": self.current, "messages": messages},
            },
            "created_at": self._begun,
            "updated_at": self._begun,
            "meta": {"tags": list(self.tags)},
            "current_message_id": self.current,
            **self.turned,
        }

    # --- changes -----------------------------------------------------------------------------------------

    def upsert(self, id: str, message: Json) -> None:
        """Merges facts into a message, or adds one, and makes it the last."""
        message = copy(dict(message))
        before = dict(self.messages.get(id, {}))
        if id in self.messages:
            self.messages[id].update({**message, "id": id})
            self.current = id
        else:
            self._add(id, message)
        if id == self._answer:
            self._tell_changes(before, message)

    def _tell_changes(self, before: Json, message: Json) -> None:
        changed = {name: value for name, value in message.items() if before.get(name) != value}
        if "content" in changed:
            self._tell("replace", {"content": changed["content"]})
        if changed.get("files"):
            self._tell("files", {"files": changed["files"]})
        if changed.get("embeds"):
            self._tell("embeds", {"embeds": changed["embeds"], "replace": True})
        for name, kind in (("sources", "source"), ("statusHistory", "status")):
            known = before.get(name) or []
            for one in changed.get(name) or []:
                if one not in known:
                    self._tell(kind, one)
        if changed.get("error"):
            self._tell("chat:message:error", {"error": changed["error"]})
        if changed.get("followUps"):
            self._tell("chat:message:follow_ups", {"follow_ups": changed["followUps"]})

    def add_status(self, id: str, status: Json) -> None:
        """Adds a status to a message; none to one that there is not."""
        message = self.messages.get(id)
        if message is not None:
            message["statusHistory"] = [*(message.get("statusHistory") or []), copy(status)]
            if id == self._answer:
                self._tell("status", status)

    def add_files(self, id: str, files: Iterable[Json]) -> list[Json]:
        """Adds files to a message and returns all that it has; none of one that there is not."""
        message = self.messages.get(id)
        if message is None:
            return []
        message["files"] = [*(message.get("files") or []), *copy(list(files))]
        if id == self._answer:
            self._tell("files", {"files": message["files"]})
        return list(copy(message["files"]))

    def change(self, chat: Json) -> None:
        """Takes over parts of a chat as Open WebUI stores it."""
        chat = copy(dict(chat))
        history = chat.pop("history", None)
        chat.pop("messages", None)
        title = chat.pop("title", None)
        if title and title != self.title:
            self.rename(title)
        if isinstance(history, dict):
            for id, message in (history.get("messages") or {}).items():
                if message != self.messages.get(id):
                    self.upsert(id, message)
            self.current = history.get("currentId") or self.current
        self._more.update(chat)

    def rename(self, title: str) -> None:
        """Gives it another title."""
        self.title = str(title)
        self._tell("chat:title", self.title)

    @staticmethod
    def tag_id(tag: str) -> str:
        """Returns a tag as it is stored."""
        return str(tag).lower().replace(" ", "_")

    def tag(self, tags: Iterable[str]) -> None:
        """Replaces the tags."""
        self.tags = [tag for tag in dict.fromkeys(map(self.tag_id, tags)) if tag != "none"]
        self._tell("chat:tags", list(self.tags))

    def link(self, message_id: str, file_ids: Iterable[str], user_id: str) -> list[Json]:
        """Links files to a message and returns the new links."""
        known = {link["file_id"] for link in self.links}
        made = [
            {
                "id": f"{self.id}-{file_id}",
                "user_id": user_id,
                "chat_id": self.id,
                "message_id": message_id,
                "file_id": file_id,
                "created_at": self._begun,
                "updated_at": self._begun,
            }
            for file_id in dict.fromkeys(file_ids)
            if file_id not in known
        ]
        self.links += made
        return made

    def unlink(self, file_id: str) -> bool:
        """Takes a link back; False when there was none."""
        before = len(self.links)
        self.links = [link for link in self.links if link["file_id"] != file_id]
        return len(self.links) < before

    def _tell(self, kind: str, data: Any) -> None:
        send = self._send()
        if send is not None:
            send(event_of({"type": kind, "data": data}))
