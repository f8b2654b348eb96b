"""Chunks that are nothing but text, on their way through stream filters: only the text travels.

The rest of such a chunk is the same throughout an answer, and most filters leave it as it is. So the server names it
once a batch; the worker makes the chunk that the author sees, and sends back its text where nothing else was changed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_KIND: Final = "chat.completion.chunk"
_FIRST: Final = 0


class Head(NamedTuple):
    """What all chunks of one answer share."""

    id: str
    created: int
    model: str


def chunk_of(head: Head, text: str) -> dict[str, Any]:
    """Returns a text as a chunk of choice 0, in OpenAI's shape."""
    return {
        "id": head.id,
        "object": _KIND,
        "created": head.created,
        "model": head.model,
        "choices": [{"index": _FIRST, "delta": {"content": text}, "logprobs": None, "finish_reason": None}],
    }


def text_of(head: Head, chunk: Any) -> str | None:
    """Returns the text of what ``chunk_of`` made for this head, also after a change of the text.

    None where anything else is different, and for an empty text.
    """
    if type(chunk) is not dict or len(chunk) != 5:
        return None
    # By identity, so that nothing equal (1 and true, a text of a subclass) passes for the same.
    if (
        chunk.get("id") is not head.id
        or chunk.get("created") is not head.created
        or chunk.get("model") is not head.model
        or chunk.get("object") is not _KIND
    ):
        return None
    choices = chunk.get("choices")
    if type(choices) is not list or len(choices) != 1:
        return None
    choice = choices[0]
    if type(choice) is not dict or len(choice) != 4:
        return None
    if (
        choice.get("index") is not _FIRST
        or choice.get("logprobs", _KIND) is not None
        or choice.get("finish_reason", _KIND) is not None
    ):
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or len(delta) != 1:
        return None
    text = delta.get("content")
    return text if type(text) is str and text else None
