"""Frames between the server and a worker: a 4-byte length and a JSON array, read and written alike at both ends.

Nothing that arrives is trusted: what is no frame, or more than one may be, raises ``ProtocolError``.
The messages themselves are listed in ``serving.py``.
"""

from __future__ import annotations

import json.encoder
import struct
from collections.abc import Callable, Iterable
from typing import Any

from .answers import Event, Whole
from .jsonable import jsonable

HEADER = struct.Struct(">I")
MEGABYTE = 1024 * 1024
ENVELOPE = MEGABYTE
"""How much longer than the largest answer a frame may be."""
WINDOW = 512 * 1024
"""How many bytes of one stream may be under way until its consumer has taken some."""
BATCH = WINDOW // 4
"""About how long the frames of one stream are made; a single item may be longer."""
MOST_PARTS = 500_000
"""How many values one frame may have: each costs the reader many times what it costs on the wire."""

ASK = "ask"
"""The host call that puts a question to the client (``__event_call__``); its parameter is the event."""
COMPLETE = "models.complete"
"""The host call that asks a model to answer, which takes as long as the model does."""
RESOLVE = "net.resolve"
"""The host call that asks for the addresses of a name; its parameters are ``[name, port]``."""

Json = dict[str, Any]
Message = list[Any]


class ProtocolError(Exception):
    """The other end sent what is no message, or one that it must not send."""


class TooLong(Exception):
    """A message is longer than a frame may be."""


def _fail(value: Any) -> Any:
    raise TypeError(f"A message is made of JSON types, not of {type(value).__name__}.")


def _encoder() -> Callable[[Any], str]:
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    text = json.encoder.encode_basestring
    if make is None:  # an interpreter without the accelerator
        return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_fail).encode
    # Made once: ``json.dumps`` makes one for every call, and author code may have put something else in its place.
    parts = make(None, _fail, text, None, ":", ",", False, False, False)
    return lambda value: "".join(parts(value, 0))


_json = _encoder()
_decode = json.JSONDecoder(parse_constant=lambda _: None).decode


def encode(message: Message, limit: int | None = None) -> bytes:
    """Returns a frame. NaN and infinity become null, lone surrogates question marks.

    Raises ``TooLong`` when its JSON has more than ``limit`` bytes or too many parts, ``ValueError`` or
    ``RecursionError`` for what JSON cannot carry.
    """
    try:
        text = _json(message)
    except ValueError:  # not a finite number; or an integer too long to be written, which fails again
        text = _json(jsonable(message))
    body = text.encode("utf-8", "replace")
    if limit is not None and (len(body) > limit or _too_many_parts(body, MOST_PARTS)):
        raise TooLong(len(body))
    return HEADER.pack(len(body)) + body


def frame_limit(output_mb: int) -> int:
    """Returns how many bytes of JSON a frame of a function may have."""
    return output_mb * MEGABYTE + ENVELOPE


class Reader:
    """Cuts what arrives into messages. ``most_parts`` is None where the other end is trusted."""

    def __init__(self, limit: int, most_parts: int | None = MOST_PARTS) -> None:
        self.limit = limit
        self.most_parts = most_parts
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER.size

    @property
    def waiting(self) -> int:
        """How many bytes lie here that were not given out yet."""
        return self._have

    @property
    def ready(self) -> bool:
        """Whether at least one whole message was left behind by a ``feed`` that was asked for fewer."""
        return self._have >= self._need

    def feed(self, data: bytes, most: int | None = None) -> list[tuple[int, Message]]:
        """Returns the messages that are complete now, each with the length of its frame, but no more than ``most``.

        The rest comes with the next call, also one with no data. Raises ``ProtocolError``.
        """
        if data:
            self._parts.append(data)
            self._have += len(data)
        if self._have < self._need:
            return []
        buffer = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        size = len(buffer)
        found: list[tuple[int, Message]] = []
        start, need = 0, HEADER.size
        while size - start >= HEADER.size:
            length = HEADER.unpack_from(buffer, start)[0]
            if length > self.limit:
                raise ProtocolError(f"a frame of {length} bytes, where {self.limit} are allowed")
            need = HEADER.size + length
            if size - start < need or len(found) == most:
                break
            found.append((need, self._message(buffer[start + HEADER.size : start + need])))
            start += need
            need = HEADER.size
        rest = buffer[start:] if start else buffer
        self._parts = [rest] if rest else []
        self._have = len(rest)
        self._need = need
        return found

    def _message(self, body: bytes) -> Message:
        if self.most_parts is not None and _too_many_parts(body, self.most_parts):
            raise ProtocolError(f"a frame of more than {self.most_parts} values")
        try:
            message = _decode(body.decode())
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"a frame that is no JSON: {str(error)[:200]}") from None
        if type(message) is not list or not message:
            raise ProtocolError("a frame that is no array with something in it")
        return message


def _too_many_parts(body: bytes, most: int) -> bool:
    if len(body) <= 2 * most or _parts(body) <= most:
        return False
    # Commas and brackets within texts are no parts. This way, for a regular expression takes seconds over short texts.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return plain.count(b'"') > 4 * most or _parts(b"".join(plain.split(b'"')[::2])) > most


def _parts(body: bytes) -> int:
    """Returns about how many values there are: each is the first of its container, or comes after a comma."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


# --- What a pipe says --------------------------------------------------------------------------------


def packed(items: Iterable[Any]) -> list[Any]:
    """Returns the items of a pipe as they travel: text, chunk, ``["event", {...}]`` or ``["whole", {...}]``."""
    return [_packed(item) if type(item) is not str else item for item in items]


def _packed(item: Any) -> Any:
    if isinstance(item, Event):
        return ["event", item]
    if isinstance(item, Whole):
        return ["whole", item._asdict()]
    return item


def unpacked(items: Any) -> list[Any]:
    """Returns the items of a pipe from how they travelled. Raises ``ProtocolError`` for anything else."""
    if type(items) is not list or not items:
        raise ProtocolError("items that are no list with something in it")
    return [item if type(item) is str or type(item) is dict else _unpacked(item) for item in items]


def _unpacked(item: Any) -> Any:
    match item:
        case ["event", dict() as event]:
            return Event(event)
        case ["whole", dict() as whole]:
            return whole_from(whole)
    raise ProtocolError("an item that is neither text, chunk, event nor a whole answer")


def whole_from(fields: Json) -> Whole:
    """Returns a ``Whole`` from its fields as they travelled. Raises ``ProtocolError``."""
    match fields:
        case {"value": value, "status": int() as status, "content_type": str() as content_type} if (
            len(fields) == 3 and 100 <= status <= 599
        ):
            return Whole(value, status, content_type)
    raise ProtocolError("a whole answer without value, status and content type")
