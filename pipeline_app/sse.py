"""An answer as server-sent frames: the role first, one id throughout, events and errors in their place."""

from __future__ import annotations

from typing import Any

from pipeline_app import wire
from pipeline_app.answer import Head, Piece
from pipeline_app.errors import RequestError
from pipeline_app.worker.answers import Event

Json = dict[str, Any]


class Frames:
    """Encodes pieces; what is ready together becomes one write."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._roles: set[int] = set()
        self._text: wire.TextFrames | None = None

    def encode(self, pieces: list[Piece]) -> bytes:
        """Returns the frames of some pieces."""
        out: list[bytes] = []
        for piece in pieces:
            if type(piece) is str:
                if self._text is not None and 0 in self._roles:
                    out.append(self._text(piece))
                elif piece:
                    out.append(self._first_text(piece))
            elif isinstance(piece, Event):
                out.append(self._event(piece))
            else:
                out.append(self._chunk(piece))  # type: ignore[arg-type]  # a piece is a text or an object
        return b"".join(out)

    def _first_text(self, text: str) -> bytes:
        head = self._head
        head.fixed = True
        self._text = wire.TextFrames(head.id, head.created, head.model)
        if 0 in self._roles:
            return self._text(text)
        self._roles.add(0)
        return wire.frame(wire.chunk(head.id, head.created, head.model, {"role": "assistant", "content": text}))

    def _event(self, event: Json) -> bytes:
        head = self._head
        head.fixed = True
        out = b""
        if not self._roles:
            self._roles.add(0)
            out = wire.frame(wire.chunk(head.id, head.created, head.model, {"role": "assistant", "content": ""}))
        return out + wire.frame(wire.event_chunk(head.id, head.created, head.model, event))

    def _chunk(self, chunk: Json) -> bytes:
        head = self._head
        head.adopt(chunk)
        choices = chunk.get("choices")
        kept = []
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            index = index if isinstance(index, int) else 0
            delta = choice.get("delta")
            delta = delta if isinstance(delta, dict) else {}
            if index not in self._roles:
                self._roles.add(index)
                delta = {"role": "assistant", **{name: value for name, value in delta.items() if name != "role"}}
            kept.append({**choice, "index": index, "delta": delta, "finish_reason": choice.get("finish_reason")})
        return wire.frame(
            {
                "model": head.model,
                **chunk,
                "id": head.id,
                "object": "chat.completion.chunk",
                "created": head.created,
                "choices": kept,
            }
        )

    def error(self, error: RequestError) -> bytes:
        """Returns the end of a stream that failed: an error frame, which official clients raise, and the end mark."""
        body = wire.error(error.message, error.type, param=error.param, code=error.code)
        return wire.frame(body) + wire.DONE


class Objects:
    """What an action says: an event as ``{"event": ...}``, any other object as it is."""

    def encode(self, pieces: list[Json]) -> bytes:
        """Returns the frames of some objects."""
        return b"".join(wire.frame({"event": p} if isinstance(p, Event) else p) for p in pieces)

    def error(self, error: RequestError) -> bytes:
        """Returns the end of a stream that failed, with the end mark."""
        return wire.frame(wire.error(error.message, error.type, param=error.param, code=error.code)) + wire.DONE
