"""One answer while it is read: what a pipe gives becomes pieces, and pieces become a message.

A *piece* is a text (content of choice 0), a chunk in OpenAI's shape, or an ``Event``.
"""

from __future__ import annotations

from typing import Any

from pipeline_app import wire
from pipeline_app.errors import FunctionError
from pipeline_app.events import CARRY_TEXT, text_of_event, usage_of_event
from pipeline_app.worker.answers import Event, Whole

Json = dict[str, Any]
Piece = str | Json

_MERGED_AS_TEXT = ("content", "reasoning_content", "reasoning", "thinking", "refusal")


class Head:
    """What all chunks of one answer share. An upstream's id is adopted while nothing has gone out."""

    __slots__ = ("created", "fixed", "id", "model")

    def __init__(self, model: str) -> None:
        self.id = wire.new_id()
        self.created = wire.now()
        self.model = model
        self.fixed = False

    def adopt(self, chunk: Json) -> None:
        if not self.fixed:
            self.fixed = True
            if isinstance(chunk.get("id"), str) and chunk["id"]:
                self.id = chunk["id"]


def _choices(value: Json) -> list[Json]:
    """Returns the choices of a chunk or completion; none unless it is a list of objects."""
    choices = value.get("choices")
    if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        return choices
    return []


def _index(choice: Json) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) and 0 <= index < 128 else 0


def delta_of(message: Json) -> Json:
    """Returns a message as one delta: tool calls get the index that streaming needs."""
    delta = dict(message)
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [
            {"index": number, **call} if isinstance(call, dict) else call for number, call in enumerate(calls)
        ]
    return delta


class Reader:
    """Turns a pipe's items into pieces. Endings and usage are kept back for the end of the stream."""

    def __init__(self, head: Head, function_id: str) -> None:
        self.head = head
        self.function_id = function_id
        self.usage: Json | None = None
        self.usage_apart = False
        """Whether the pipe told of its usage in a chunk without choices, as clients get it who ask for it."""
        self.whole: Json | None = None
        """An object that was returned as the whole answer, as it was given."""
        self._finishes: dict[int, str] = {}
        self._seen: dict[int, bool] = {}

    def read(self, items: list[Any]) -> list[Piece]:
        """Returns the pieces of some items. Raises ``FunctionError`` when one of them says that the answer failed."""
        if all(type(item) is str for item in items):
            return items
        pieces: list[Piece] = []
        for item in items:
            if isinstance(item, str | Event):
                pieces.append(item)
            elif isinstance(item, Whole):
                pieces += self._whole(item)
            else:
                pieces += self._object(item)
        return pieces

    def finish(self, usage: Json | None = None) -> list[Piece]:
        """Returns the last chunks: one ending for each choice, the last of them with the usage, if it is given."""
        head = self.head
        chunks: list[Json] = [
            {
                **wire.chunk(head.id, head.created, head.model, {}),
                "choices": [
                    {"index": index, "delta": {}, "logprobs": None, "finish_reason": self.finish_reason(index)}
                ],
            }
            for index in sorted(self._seen or {0: False})
        ]
        if usage is not None:
            chunks[-1]["usage"] = usage
        return list(chunks)

    def finish_reason(self, index: int = 0) -> str:
        """Returns the function's own ending of a choice, else what its shape says."""
        return self._finishes.get(index) or ("tool_calls" if self._seen.get(index) else "stop")

    def _whole(self, whole: Whole) -> list[Piece]:
        value = whole.value
        if whole.status >= 400:
            raise self._failure(value, whole.status)
        if isinstance(value, str):
            return [value] if value else []
        if not isinstance(value, dict):
            return [wire.dumps(value).decode()]
        pieces = self._object(value)
        self.whole = value
        return pieces

    def _object(self, item: Json) -> list[Piece]:
        choices = _choices(item)
        if choices:
            return self._chunk(item, choices)
        if item.get("error"):
            raise self._failure(item, None)
        event = item.get("event")
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            return [Event(event)]
        rest = {
            name: value for name, value in item.items() if name not in {"id", "object", "created", "model", "choices"}
        }
        if isinstance(rest.get("usage"), dict):
            self.usage, self.usage_apart = rest.pop("usage"), True
        if not rest:
            return []
        # Not a chunk: it travels in one, so that clients which look at choices can pass over it.
        return [{**wire.chunk(self.head.id, self.head.created, self.head.model, {}), **rest}]

    def _chunk(self, item: Json, choices: list[Json]) -> list[Piece]:
        self.head.adopt(item)
        kept: list[Json] = []
        for choice in choices:
            index = _index(choice)
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                message = choice.get("message")
                delta = delta_of(message) if isinstance(message, dict) else {}
                if isinstance(choice.get("text"), str):
                    delta = {"content": choice["text"]}
            self._seen[index] = self._seen.get(index, False) or bool(delta.get("tool_calls"))
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason:
                self._finishes.setdefault(index, reason)
            others = {
                n: v for n, v in choice.items() if n not in {"index", "delta", "message", "text", "finish_reason"}
            }
            if delta or any(value is not None for value in others.values()):
                kept.append({"index": index, "delta": delta, **others, "finish_reason": None})
        if isinstance(item.get("usage"), dict):
            self.usage = item["usage"]
        rest = {n: v for n, v in item.items() if n not in {"id", "object", "created", "choices", "usage"}}
        extra = any(name not in {"model", "system_fingerprint", "service_tier"} for name in rest)
        if not kept and not extra:
            return []
        chunk = {
            "id": self.head.id,
            "object": "chat.completion.chunk",
            "created": self.head.created,
            "model": self.head.model,
            **rest,
            "choices": kept or [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}],
        }
        if not isinstance(chunk["model"], str):
            chunk["model"] = self.head.model
        return [chunk]

    def _failure(self, value: Any, status: int | None) -> FunctionError:
        """Returns the error that an answer tells of, as an object or a text under ``error`` or ``detail``."""
        found = value.get("error") or value.get("detail") if isinstance(value, dict) else value
        text = found
        if isinstance(found, dict):
            text = found.get("message") or found.get("detail") or wire.dumps(found).decode()
            code = found.get("code", found.get("status"))
            if status is None and isinstance(code, int) and 400 <= code <= 599:
                status = code
        text = text if isinstance(text, str) else wire.dumps(text).decode()
        data: Json = {"type": "Error", "message": text, "line": None, "traceback": ""}
        if status is not None:
            data |= {"status": status, "detail": text}
        return FunctionError(self.function_id, "pipe", data)


class Transcript:
    """What the client is shown, remembered for outlet filters and JSON answers."""

    def __init__(self) -> None:
        self._flow: list[Piece] = []
        self._messages: dict[int, Json] = {}
        self._parts: dict[tuple[int, str], list[str]] = {}
        self._calls: dict[int, dict[int, Json]] = {}
        self.logprobs: dict[int, Json] = {}
        """What chunks said of the tokens of a choice, one after the other."""
        self.events: list[Json] = []
        self.extras: Json = {}
        self.usage: Json | None = None
        """What an event says of the usage."""

    def add(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            if type(piece) is str:
                self._flow.append(piece)
            elif isinstance(piece, Event):
                self.events.append(piece)
                self._flow.append(piece)
                if piece.get("type") == "chat:completion":
                    self.usage = usage_of_event(piece) or self.usage
            else:
                self._add_chunk(piece)  # type: ignore[arg-type]  # a piece is a text or an object

    def _add_chunk(self, chunk: Json) -> None:
        for choice in _choices(chunk):
            delta = choice.get("delta")
            index = _index(choice)
            for name, value in delta.items() if isinstance(delta, dict) else ():
                if index == 0 and name == "content" and isinstance(value, str):
                    self._flow.append(value)
                else:
                    self._merge(index, name, value)
            if isinstance(choice.get("logprobs"), dict):
                self._merge_logprobs(self.logprobs.setdefault(index, {}), choice["logprobs"])
        for name, value in chunk.items():
            if name not in {"id", "object", "created", "model", "choices", "usage"}:
                self.extras[name] = value

    def _merge(self, index: int, name: str, value: Any) -> None:
        message = self._messages.setdefault(index, {})
        if name == "tool_calls" and isinstance(value, list):
            for call in value:
                if isinstance(call, dict):
                    self._merge_call(index, call)
        elif name in _MERGED_AS_TEXT and isinstance(value, str):
            message.setdefault(name, None)
            self._parts.setdefault((index, name), []).append(value)
        elif isinstance(value, list) and isinstance(message.get(name), list):
            message[name] = message[name] + value
        elif value is not None:
            message[name] = value

    @staticmethod
    def _merge_logprobs(whole: Json, more: Json) -> None:
        for name, value in more.items():
            old = whole.get(name)
            whole[name] = old + value if isinstance(old, list) and isinstance(value, list) else value

    def _merge_call(self, index: int, call: Json) -> None:
        number = call.get("index")
        calls = self._calls.setdefault(index, {})
        whole = calls.setdefault(number if isinstance(number, int) else len(calls), {})
        for name, value in call.items():
            if name == "function" and isinstance(value, dict):
                function = whole.setdefault("function", {})
                for key, part in value.items():
                    old = function.get(key)
                    function[key] = (
                        old + part if key == "arguments" and isinstance(old, str) and isinstance(part, str) else part
                    )
            elif name != "index" and value is not None:
                whole[name] = value

    @property
    def indexes(self) -> list[int]:
        return sorted({0, *self._messages, *self._calls})

    def text(self) -> str:
        """Returns the content of the first choice."""
        return "".join([piece for piece in self._flow if type(piece) is str])

    def shown_text(self) -> str:
        """Returns the text as a reader sees it who also follows events that add to it or replace it."""
        if not self.carries_text:
            return self.text()
        shown = painted = ""
        for piece in self._flow:
            if isinstance(piece, str):
                shown += piece
                continue
            added, put = text_of_event(piece)
            if put is not None:
                shown = put
                painted = put if piece.get("type") == "chat:completion" else ""
            shown += added
        # Some functions paint the text as it grows, and give all of it in the end: it is there once.
        rest = shown[len(painted) :]
        return rest if painted and rest.startswith(painted) else shown

    @property
    def carries_text(self) -> bool:
        """Whether events show text beside the answer."""
        return any(event.get("type") in CARRY_TEXT for event in self.events)

    def message(self, index: int = 0) -> Json:
        """Returns a choice as a message; its content is None only beside tool calls."""
        message: Json = {"role": "assistant", "content": self.text() if index == 0 else ""}
        for name, value in self._messages.get(index, {}).items():
            message[name] = (
                "".join(self._parts[index, name]) if value is None and (index, name) in self._parts else value
            )
        calls = self._calls.get(index)
        if calls:
            message["tool_calls"] = [calls[number] for number in sorted(calls)]
            message["content"] = message["content"] or None
        return message
