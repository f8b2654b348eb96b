"""Messages of a chat: finding, adding to and replacing them. Pure functions; where one changes its list, it says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._outputs import get_output_text

Json = dict[str, Any]


def get_content_from_message(message: Json) -> str | None:
    """Returns the first text of a message; that of its output items where it has no content, which may be none."""
    content = message.get("content")
    if isinstance(content, list):
        return next((part.get("text") for part in content if part.get("type") == "text"), None)
    if content:
        return str(content)
    output = message.get("output")
    return get_output_text(output) if output else content


def get_last_user_message_item(messages: list[Json]) -> Json | None:
    """Returns the user's last message."""
    return _last(messages, "user")


def get_last_assistant_message_item(messages: list[Json]) -> Json | None:
    """Returns the assistant's last message."""
    return _last(messages, "assistant")


def get_last_user_message(messages: list[Json]) -> str | None:
    """Returns the text of the user's last message."""
    found = _last(messages, "user")
    return None if found is None else get_content_from_message(found)


def get_last_assistant_message(messages: list[Json]) -> str | None:
    """Returns the text of the assistant's last message."""
    found = _last(messages, "assistant")
    return None if found is None else get_content_from_message(found)


def get_system_message(messages: list[Json]) -> Json | None:
    """Returns the first system message."""
    return next((message for message in messages if message["role"] == "system"), None)


def remove_system_message(messages: list[Json]) -> list[Json]:
    """Returns a new list without system messages."""
    return [message for message in messages if message["role"] != "system"]


def pop_system_message(messages: list[Json]) -> tuple[Json | None, list[Json]]:
    """Returns the first system message, and a new list without any."""
    return get_system_message(messages), remove_system_message(messages)


def add_or_update_system_message(content: str, messages: list[Json], append: bool = False) -> list[Json]:
    """Puts text before that of a leading system message, or after it; else makes one. Changes the list."""
    if messages and messages[0].get("role") == "system":
        messages[0] = update_message_content(messages[0], content, append)
    else:
        messages.insert(0, {"role": "system", "content": content})
    return messages


def replace_system_message_content(content: str, messages: list[Json]) -> list[Json]:
    """Replaces the content of the first system message, where there is one. Changes the list."""
    found = get_system_message(messages)
    if found is not None:
        found["content"] = content
    return messages


def merge_system_messages(messages: list[Json]) -> list[Json]:
    """Returns messages with one system message, the first, of what all of them say."""
    said = [get_content_from_message(message) for message in messages if message["role"] == "system"]
    rest = remove_system_message(messages)
    if not said:
        return rest
    return [{"role": "system", "content": "\n".join(text for text in said if text)}, *rest]


def add_or_update_user_message(content: str, messages: list[Json], append: bool = True) -> list[Json]:
    """Adds text to a last message that is the user's; else makes one. Changes the list."""
    return _add_or_update("user", content, messages, append)


def append_or_update_assistant_message(content: str, messages: list[Json]) -> list[Json]:
    """Adds text to a last message that is the assistant's; else makes one. Changes the list."""
    return _add_or_update("assistant", content, messages, True)


def prepend_to_first_user_message_content(content: str, messages: list[Json]) -> list[Json]:
    """Puts text before that of the user's first message. Changes the list."""
    for message in messages:
        if message["role"] == "user":
            if isinstance(message["content"], list):
                _first_text(message)["text"] = f"{content}\n{_first_text(message)['text']}"
            else:
                message["content"] = f"{content}\n{message['content']}"
            break
    return messages


def set_last_user_message_content(content: str, messages: list[Json]) -> list[Json]:
    """Replaces the text of the user's last message. Changes the list."""
    found = get_last_user_message_item(messages)
    if found is not None:
        if isinstance(found["content"], list):
            _first_text(found)["text"] = content
        else:
            found["content"] = content
    return messages


def update_message_content(message: Json, content: str, append: bool = True) -> Json:
    """Joins text to that of a message, to each of its text parts; changes the message."""

    def joined(old: Any) -> str:
        return f"{old}\n{content}" if append else f"{content}\n{old}"

    if isinstance(message["content"], list):
        for part in message["content"]:
            if part.get("type") == "text":
                part["text"] = joined(part["text"])
    else:
        message["content"] = joined(message["content"])
    return message


def get_messages_content(messages: list[Json]) -> str:
    """Returns a chat as lines, each with the role in capitals and the text."""
    return "\n".join(f"{message['role'].upper()}: {get_content_from_message(message)}" for message in messages)


def get_message_list(messages_map: dict[str, Json], message_id: str | None) -> list[Json]:
    """Returns the messages from the root to one of them, by their parents; none for an unknown one."""
    return list(_up(messages_map or {}, message_id))[::-1]


def _up(messages: dict[str, Json], message_id: str | None) -> Iterator[Json]:
    seen: set[str] = set()
    while message_id and message_id in messages and message_id not in seen:
        seen.add(message_id)
        yield messages[message_id]
        message_id = messages[message_id].get("parentId")


def _last(messages: list[Json], role: str) -> Json | None:
    return next((message for message in reversed(messages) if message["role"] == role), None)


def _add_or_update(role: str, content: str, messages: list[Json], append: bool) -> list[Json]:
    if messages and messages[-1].get("role") == role:
        messages[-1] = update_message_content(messages[-1], content, append)
    else:
        messages.append({"role": role, "content": content})
    return messages


def _first_text(message: Json) -> Json:
    """Returns the first text part of a message; makes one where there is none."""
    found: Json | None = next((part for part in message["content"] if part.get("type") == "text"), None)
    if found is None:
        found = {"type": "text", "text": ""}
        message["content"].insert(0, found)
    return found
