"""Small things that functions use everywhere: messages of a chat, shapes of answers, text, files. Pure functions."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import threading
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

from ._messages import (
    add_or_update_system_message,
    add_or_update_user_message,
    append_or_update_assistant_message,
    get_content_from_message,
    get_last_assistant_message,
    get_last_assistant_message_item,
    get_last_user_message,
    get_last_user_message_item,
    get_message_list,
    get_messages_content,
    get_system_message,
    merge_system_messages,
    pop_system_message,
    prepend_to_first_user_message_content,
    remove_system_message,
    replace_system_message_content,
    set_last_user_message_content,
    update_message_content,
)
from ._outputs import (
    convert_output_to_messages,
    get_output_text,
    openai_chat_chunk_message_template,
    openai_chat_completion_message_template,
    openai_chat_message_template,
)

__all__ = [
    "add_or_update_system_message",
    "add_or_update_user_message",
    "append_or_update_assistant_message",
    "calculate_sha256",
    "calculate_sha256_string",
    "convert_output_to_messages",
    "deep_update",
    "extract_urls",
    "get_content_from_message",
    "get_gravatar_url",
    "get_last_assistant_message",
    "get_last_assistant_message_item",
    "get_last_user_message",
    "get_last_user_message_item",
    "get_message_list",
    "get_messages_content",
    "get_output_text",
    "get_system_message",
    "is_string_allowed",
    "merge_system_messages",
    "openai_chat_chunk_message_template",
    "openai_chat_completion_message_template",
    "openai_chat_message_template",
    "parse_duration",
    "parse_ollama_modelfile",
    "pop_system_message",
    "prepend_to_first_user_message_content",
    "remove_system_message",
    "replace_system_message_content",
    "sanitize_filename",
    "sanitize_metadata",
    "sanitize_text_for_db",
    "set_last_user_message_content",
    "stream_chunks_handler",
    "throttle",
    "update_message_content",
    "validate_email_format",
]

Json = dict[str, Any]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST_LINE = 16 * 1024 * 1024


def deep_update(d: Json, u: Json) -> Json:
    """Merges a dict into another, which is changed and returned; dicts in both are merged likewise."""
    for name, value in u.items():
        own = d.get(name)
        d[name] = deep_update(own if isinstance(own, dict) else {}, value) if isinstance(value, dict) else value
    return d


def is_string_allowed(string: str | list[str], filter_list: list[str] | None = None) -> bool:
    """Whether a text, or any of several, ends as a list of endings allows: those with ``!`` forbid."""
    if not filter_list:
        return True
    texts = [string] if isinstance(string, str) else list(string)
    allowed = [ending.strip() for ending in filter_list if ending.strip() and not ending.strip().startswith("!")]
    forbidden = [ending.strip()[1:] for ending in filter_list if ending.strip().startswith("!")]
    if any(text.endswith(ending) for text in texts for ending in forbidden if ending):
        return False
    return not allowed or any(text.endswith(ending) for text in texts for ending in allowed)


def get_gravatar_url(email: str) -> str:
    """Returns the address of somebody's picture."""
    digest = hashlib.sha256(str(email).strip().lower().encode()).hexdigest()
    return f"https://www.gravatar.com/avatar/{digest}?d=mp"


def calculate_sha256(file_path: str, chunk_size: int = 64 * 1024) -> str:
    """Returns the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(file_path, "rb") as content:
        while piece := content.read(chunk_size):
            digest.update(piece)
    return digest.hexdigest()


def calculate_sha256_string(string: str) -> str:
    """Returns the SHA-256 of a text."""
    return hashlib.sha256(string.encode()).hexdigest()


def validate_email_format(email: str) -> bool:
    """Whether a text looks like an email address."""
    return email.endswith("@localhost") or re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email) is not None


def sanitize_filename(file_name: str) -> str:
    """Returns a file name in plain lower-case letters, digits, dots and hyphens."""
    plain = unicodedata.normalize("NFKD", file_name).encode("ascii", "ignore").decode()
    return re.sub(r"-{2,}", "-", re.sub(r"\s+", "-", re.sub(r"[^\w\s.-]", "", plain).strip().lower()))


def extract_urls(text: str) -> list[str]:
    """Returns the web addresses in a text, each once."""
    found = re.findall(r"https?://[^\s<>\"'`]+", text)
    return list(dict.fromkeys(url.rstrip(".,;:!?)]}") for url in found))


def parse_duration(duration: str) -> timedelta | None:
    """Returns a duration such as ``1h30m``; None for ``-1`` and ``0``, which are for ever. Raises ``ValueError``."""
    if duration in ("-1", "0"):
        return None
    parts = re.findall(r"(-?\d+(?:\.\d+)?)(ms|[smhdw])", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is no duration such as 1h30m.")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def throttle(interval: float = 10.0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that lets a function be called once in so many seconds with the same arguments.

    Other calls do nothing and give None.
    """

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        called: dict[Any, float] = {}
        lock = threading.Lock()

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            key, now = (args, frozenset(kwargs.items())), time.monotonic()
            with lock:
                if interval and now - called.get(key, float("-inf")) < interval:
                    return None
                called[key] = now
            return function(*args, **kwargs)

        return wrapper

    return decorator


def sanitize_text_for_db(text: Any) -> Any:
    """Returns text without what databases refuse: NUL and lone surrogates."""
    if not isinstance(text, str):
        return text
    return text.replace("\x00", "").encode("utf-8", "ignore").decode()


def sanitize_metadata(metadata: Json) -> Json:
    """Returns a dict without values that JSON cannot carry."""
    kept: Json = {}
    for name, value in metadata.items():
        if isinstance(value, dict):
            kept[name] = sanitize_metadata(value)
            continue
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        kept[name] = value
    return kept


async def stream_chunks_handler(stream: Any) -> AsyncIterator[bytes]:
    """Yields a body's lines whole, however it was cut; ``stream`` is an aiohttp ``StreamReader`` or what iterates."""
    chunks = stream.iter_any() if hasattr(stream, "iter_any") else stream
    rest = b""
    async for chunk in chunks:
        rest += chunk
        *lines, rest = rest.split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _LONGEST_LINE:
            raise ValueError(f"A line of the stream is longer than {_LONGEST_LINE // 1024**2} MB.")
    if rest:
        yield rest


def parse_ollama_modelfile(model_text: str) -> Json:
    """Returns base model, system prompt and parameters of an Ollama model file, as a form for a model has them."""
    params: Json = {}
    base = re.search(r"^FROM\s+(\S+)", model_text, re.M | re.I)
    system = re.search(
        r'^SYSTEM\s+(?:"""(.*?)"""|(.+))', model_text, re.M | re.I | re.S if '"""' in model_text else re.M
    )
    for name, text in re.findall(r"^PARAMETER\s+(\w+)\s+(.+)$", model_text, re.M | re.I):
        value: Any = text.strip().strip('"')
        try:
            value = json.loads(value)
        except ValueError:
            pass  # a word
        if name == "stop":
            params.setdefault("stop", []).append(str(value))
        else:
            params[name] = value
    if system is not None:
        params["system"] = (system.group(1) or system.group(2) or "").strip()
    return {"base_model_id": base.group(1) if base is not None else None, "params": params}
