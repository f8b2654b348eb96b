"""What hooks answer: everything that a pipe may return or yield as *items*, and what an action may return.

An item is a ``str`` (text), a ``dict`` (a chunk the author made), an ``Event`` (sent by the emitter, in its
place) or a ``Whole`` (an answer that is no stream of chunks). Responses of web frameworks are known by
their attributes, so that none of them is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from inspect import isawaitable
from typing import Any, NamedTuple

from .errors import HookError
from .jsonable import jsonable, printed, text
from .sse import Cutter


class Event(dict[str, Any]):
    """An event that the function sent: ``{"type", "data"}``."""


class Whole(NamedTuple):
    """An answer in one piece: a dict, model or JSON response, or what some other response carries."""

    value: Any
    status: int = 200
    content_type: str = "application/json"


class Shape(NamedTuple):
    """How an answer is to be taken: ``kind`` is items, await, sync or async; ``after`` is run when it has been."""

    kind: str
    value: Any
    after: Any = None


def shape(result: Any) -> Shape:
    """Returns how what a pipe returned is to be taken."""
    if result is None:
        return Shape("items", [])
    if isinstance(result, Whole):
        return Shape("items", [result])
    if isinstance(result, str):
        return Shape("items", [text(result)] if result else [])
    if isinstance(result, (bytes, bytearray)):
        decoded = bytes(result).decode("utf-8", "replace")
        return Shape("items", [decoded] if decoded else [])
    if isinstance(result, dict) or _is_model(result):
        return Shape("items", [Whole(jsonable(result))])
    if is_response(result):
        return _of_response(result)
    if isawaitable(result):
        return Shape("await", result)
    if hasattr(result, "__aiter__"):
        return Shape("async", result)
    if isinstance(result, Mapping) or hasattr(result, "__dataclass_fields__"):
        return Shape("items", [Whole(jsonable(result))])
    if isinstance(result, Iterable):
        return Shape("sync", result)
    return Shape("items", [printed(result)])


class Pieces:
    """Turns what a pipe yields, piece by piece, into items."""

    def __init__(self) -> None:
        self._cutter = Cutter()
        self.feed_text = self._cutter.feed

    def feed(self, piece: Any) -> list[Any]:
        """Returns the items that a piece makes; often one, sometimes none."""
        if piece is None:
            return []
        if isinstance(piece, str):
            return self.feed_text(text(piece))
        if isinstance(piece, (bytes, bytearray, memoryview)):
            return self.feed_text(bytes(piece))
        if isinstance(piece, dict) or _is_model(piece) or isinstance(piece, Mapping):
            return [*self.flush(), jsonable(piece)]
        return self.feed_text(printed(piece))

    def flush(self) -> list[Any]:
        """Returns text that was held back, before something else follows or at the end."""
        return self._cutter.end()


def is_response(value: Any) -> bool:
    """Returns whether this is a response to be sent, as Starlette and FastAPI make them."""
    return isinstance(getattr(value, "status_code", None), int) and (
        hasattr(value, "body_iterator") or isinstance(getattr(value, "body", None), (bytes, memoryview))
    )


def body_of(response: Any) -> Whole:
    """Returns a response that is not a stream: JSON as data, anything else as text."""
    body = bytes(response.body)
    content_type = content_type_of(response)
    if "json" in content_type.partition(";")[0]:
        try:
            return Whole(jsonable(json.loads(body)), response.status_code, content_type)
        except ValueError:
            pass  # not what its content type says: passed on as text
    return Whole(body.decode("utf-8", "replace"), response.status_code, content_type)


def content_type_of(response: Any) -> str:
    """Returns the content type of a response; plain text when it names none."""
    headers: Any = getattr(response, "headers", None)
    found = headers.get("content-type") if hasattr(headers, "get") else None
    return str(found or getattr(response, "media_type", None) or "text/plain")


async def collected(response: Any) -> Whole:
    """Returns a streaming response read to its end."""
    parts = [part.encode() if isinstance(part, str) else bytes(part) async for part in response.body_iterator]
    response.body = b"".join(parts)
    return body_of(response)


def action_result(result: Any, action_id: str) -> tuple[Any, Event | None]:
    """Returns what an action answers, and the event that shows its page when it returned one to embed.

    A response that is not to be embedded is a ``Whole``; everything else is JSON.
    """
    context: Any = None
    page: str | None = None
    answer = result
    if isinstance(result, tuple) and len(result) == 2 and is_response(result[0]):
        answer, context = result
    if is_response(answer) and not hasattr(answer, "body_iterator"):
        if not _inline(dict(answer.headers)) or "html" not in content_type_of(answer):
            return body_of(answer), None
        page = bytes(answer.body).decode("utf-8", "replace")
    elif isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping) and _inline(result[1]):
        headers = {str(name).lower(): str(value) for name, value in result[1].items()}
        if "text/html" in headers.get("content-type", "") or "location" not in headers:
            page = printed(result[0]) if not isinstance(result[0], bytes) else result[0].decode("utf-8", "replace")
        else:
            page = headers["location"]
    if page is None:
        return jsonable(result), None
    shown = Event(type="embeds", data={"embeds": [page]})
    if isinstance(context, str):
        return text(context), shown
    if context is None:
        message = f"{action_id}: Embedded UI result is active and visible to the user."
        context = {"status": "success", "code": "ui_component", "message": message}
    return json.dumps(jsonable(context), indent=2, ensure_ascii=False), shown


def refused(answer: Whole) -> HookError:
    """Returns a response with a status of an error as the error that an author would raise with that status."""
    said = answer.value
    if isinstance(said, dict):
        said = said.get("detail") or said.get("message") or said.get("error") or said
    words = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    failure = HookError.saying("HTTPException", words[:2000] or f"status {answer.status}")
    failure.data |= {"status": answer.status, "detail": words or None}
    return failure


def _of_response(response: Any) -> Shape:
    after = getattr(response, "background", None)
    if hasattr(response, "body_iterator"):
        if response.status_code >= 400:
            return Shape("await", collected(response), after)
        return Shape("async", response.body_iterator, after)
    whole = body_of(response)
    if whole.status < 400 and whole.content_type.startswith("text/plain"):
        return Shape("items", [whole.value] if whole.value else [], after)
    return Shape("items", [whole], after)


def _is_model(value: Any) -> bool:
    return callable(getattr(value, "model_dump", None)) and not isinstance(value, type)


def _inline(headers: Mapping[Any, Any]) -> bool:
    return any(
        str(name).lower() == "content-disposition" and str(value).strip().lower().startswith("inline")
        for name, value in headers.items()
    )
