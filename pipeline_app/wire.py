"""OpenAI's shapes, and the frames of a server-sent stream. Plain Python over plain data."""

from __future__ import annotations

import json
import math
import sys
import time
import uuid
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_escape = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


def dumps(value: Any) -> bytes:
    """Returns JSON as UTF-8. A lone surrogate, which UTF-8 can't carry, is left as its JSON escape."""
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:
        return _escape(value).encode()


def loads(data: bytes) -> Any:
    """Returns what JSON text says. Raises ``ValueError`` with a sentence, also for NaN, 1e999 and too deep nesting."""
    try:
        return json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        if "int_max_str_digits" not in str(error):
            raise
        raise ValueError(f"a whole number has more than {sys.get_int_max_str_digits()} digits") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """Returns a number; one beyond all floats would be written as Infinity, which is no JSON."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def frame(value: Any) -> bytes:
    """Returns one server-sent frame."""
    return b"data: " + dumps(value) + b"\n\n"


def new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def completion(
    completion_id: str,
    created: int,
    model: str,
    message: Json,
    *,
    finish_reason: str | None = "stop",
    usage: Json | None = None,
) -> Json:
    """Returns a ``chat.completion`` with one choice."""
    body: Json = {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
    }
    if usage is not None:
        body["usage"] = usage
    return body


def chunk(completion_id: str, created: int, model: str, delta: Json, finish_reason: str | None = None) -> Json:
    """Returns a ``chat.completion.chunk`` with one choice."""
    return {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }


class TextFrames:
    """Frames of plain text chunks of one stream; all but the text is encoded once."""

    __slots__ = ("_head", "_tail")

    def __init__(self, completion_id: str, created: int, model: str) -> None:
        mark = "\x00text\x00"
        whole = frame(chunk(completion_id, created, model, {"content": mark}))
        head, tail = whole.split(dumps(mark))
        self._head, self._tail = head, tail

    def __call__(self, text: str) -> bytes:
        return self._head + dumps(text) + self._tail


def event_chunk(completion_id: str, created: int, model: str, event: Json) -> Json:
    """Returns an event in the stream: a chunk with an empty delta that plain clients pass over."""
    return {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
        "event": event,
    }


def error(message: str, type_: str, *, param: str | None = None, code: str | None = None) -> Json:
    """Returns OpenAI's error object."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def model(model_id: str, created: int, owned_by: str = "webui-functions") -> Json:
    """Returns a model of ``/v1/models``, in OpenAI's shape without extra keys."""
    return {"id": model_id, "object": "model", "created": created, "owned_by": owned_by}


def model_list(models: Iterable[Json]) -> Json:
    return {"object": "list", "data": list(models)}


def text_of(content: Any) -> str:
    """Returns the text of a message's content: a string, or a list of parts of which the text parts count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def estimated_tokens(text: str) -> int:
    """Returns a rough count, a token for four bytes of UTF-8: an estimate for functions that report no usage."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 4)


def estimated_usage(messages: Iterable[Json], answer: str) -> Json:
    """Returns ``usage`` by estimate."""
    prompt = sum(estimated_tokens(text_of(m.get("content"))) for m in messages)
    completion_ = estimated_tokens(answer)
    return {"prompt_tokens": prompt, "completion_tokens": completion_, "total_tokens": prompt + completion_}


def now() -> int:
    return int(time.time())
