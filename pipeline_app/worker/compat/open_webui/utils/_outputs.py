"""Output items, in which an answer's text, reasoning and tool calls lie in order; and OpenAI's shapes for answers."""

from __future__ import annotations

import time
import uuid
from typing import Any

Json = dict[str, Any]


def get_output_text(output: Any) -> str:
    """Returns the text of the messages among output items, joined by newlines."""
    return "\n".join(
        text for item in output or () if item.get("type") == "message" and (text := _text_of(item.get("content")))
    )


def _text_of(parts: Any) -> str:
    if isinstance(parts, str):
        return parts
    return "".join(part["text"] for part in parts or () if isinstance(part.get("text"), str))


def convert_output_to_messages(
    output: Any, raw: bool = False, reasoning_format: str | None = None, flatten_tool_images: bool = False
) -> list[Json]:
    """Returns output items as messages: text and tool calls of the assistant, and what the tools answered.

    A tool call without an answer, or an answer without its call, is left out. ``raw`` and ``reasoning_format`` keep
    reasoning, as ``reasoning_content`` of the message that follows it.
    """
    answers = {item.get("call_id"): item for item in output or () if item.get("type") == "function_call_output"}
    messages: list[Json] = []
    said: list[str] = []
    thought: list[str] = []
    calls: list[Json] = []

    def flush() -> None:
        if not (said or calls):
            return
        message: Json = {"role": "assistant", "content": "\n".join(said)}
        if thought:
            message["reasoning_content"] = "\n".join(thought)
        if calls:
            message["tool_calls"] = [
                {
                    "id": call.get("call_id"),
                    "type": "function",
                    "function": {"name": call.get("name", ""), "arguments": call.get("arguments") or "{}"},
                }
                for call in calls
            ]
        messages.append(message)
        messages.extend(_answer(answers[call.get("call_id")], flatten_tool_images) for call in calls)
        said.clear()
        thought.clear()
        calls.clear()

    for item in output or ():
        match item.get("type"):
            case "message":
                if calls:
                    flush()
                if text := _text_of(item.get("content")):
                    said.append(text)
            case "reasoning" if raw or reasoning_format:
                if calls:
                    flush()
                if text := _text_of(item.get("content") or item.get("summary")):
                    thought.append(text)
            case "function_call" if item.get("call_id") in answers:
                calls.append(item)
    flush()
    return messages


def _answer(item: Json, flatten: bool) -> Json:
    output = item.get("output")
    content: Any = output if isinstance(output, str) else _text_of(output)
    if not flatten and isinstance(output, list) and any(part.get("type") == "input_image" for part in output):
        content = [_part(part) for part in output]
    return {"role": "tool", "tool_call_id": item.get("call_id"), "content": content}


def _part(part: Json) -> Json:
    if part.get("type") == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    return {"type": "text", "text": part.get("text") or ""}


def openai_chat_message_template(model: str, message_id: str | None = None) -> Json:
    """Returns what chunks and completions have in common."""
    return {
        "id": message_id or f"{model}-{uuid.uuid4()}",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "logprobs": None, "finish_reason": None}],
    }


def openai_chat_chunk_message_template(
    model: str,
    content: str | None = None,
    reasoning_content: str | None = None,
    tool_calls: list[Json] | None = None,
    usage: Json | None = None,
    message_id: str | None = None,
) -> Json:
    """Returns a chunk; one that says nothing is the last."""
    chunk = openai_chat_message_template(model, message_id)
    chunk["object"] = "chat.completion.chunk"
    choice = chunk["choices"][0]
    said = {"content": content, "reasoning_content": reasoning_content, "tool_calls": tool_calls}
    choice["delta"] = {name: value for name, value in said.items() if value}
    if not choice["delta"]:
        choice["finish_reason"] = "stop"
    if usage:
        chunk["usage"] = usage
    return chunk


def openai_chat_completion_message_template(
    model: str,
    message: str | None = None,
    reasoning_content: str | None = None,
    tool_calls: list[Json] | None = None,
    usage: Json | None = None,
) -> Json:
    """Returns a completion; without a message it has none."""
    completion = openai_chat_message_template(model)
    completion["object"] = "chat.completion"
    choice = completion["choices"][0]
    if message is not None:
        choice["message"] = {"role": "assistant", "content": message}
        if reasoning_content:
            choice["message"]["reasoning_content"] = reasoning_content
        if tool_calls:
            choice["message"]["tool_calls"] = tool_calls
    choice["finish_reason"] = "tool_calls" if tool_calls else "stop"
    if usage:
        completion["usage"] = usage
    return completion
