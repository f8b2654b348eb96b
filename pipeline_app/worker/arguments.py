"""The special arguments: what a function may ask for by naming it in a hook's signature.

This one table is what functions are written against. A hook gets an argument only if its signature names
it; what a request has no value for is None or empty, never missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from .jsonable import copy

if TYPE_CHECKING:
    from .calls import Call

Maker = Callable[["Call"], Any]

REQUEST_HOOKS = frozenset(("pipe", "pipes", "inlet", "request", "stream", "outlet", "action", "run"))
CHAT_HOOKS = REQUEST_HOOKS - {"pipes"}
EVENT_HOOKS = frozenset(("event",))
ALL_HOOKS = REQUEST_HOOKS | EVENT_HOOKS
METADATA_IN_BODY = frozenset(("inlet", "request"))
"""Hooks that find the metadata in the body, whether they ask for it or not."""


class Argument(NamedTuple):
    """One special argument: its name, the hooks that may ask for it, what it is, how it is made for a call."""

    name: str
    hooks: frozenset[str]
    what: str
    make: Maker
    of: tuple[str, ...] = ()
    """What of the context it is made from."""

    @property
    def events_only(self) -> bool:
        """Whether only Event functions know it; their ``**kwargs`` receives all of these."""
        return self.hooks == EVENT_HOOKS

    def serves(self, hook: str) -> bool:
        """Returns whether the hook may ask for it."""
        return hook in self.hooks


def _user(call: Call) -> Any:
    return call.user()


def _metadata(call: Call) -> Any:
    return call.shared_metadata()


def _emitter(call: Call) -> Any:
    return call.emitter()


def _caller(call: Call) -> Any:
    return call.caller()


def _request(call: Call) -> Any:
    from .request import build

    return build(call.context)


def _app(call: Call) -> Any:
    from .request import application

    return application()


def _id(call: Call) -> Any:
    return call.context.get("id") or call.loaded.function_id


def _model(call: Call) -> Any:
    model = call.context.get("model")
    if model is None:
        metadata = call.context.get("metadata")
        model = metadata.get("model") if isinstance(metadata, dict) else None
    return copy(model)


def _messages(call: Call) -> Any:
    return call.payload.get("messages") or [] if isinstance(call.payload, dict) else []


def _body(call: Call) -> Any:
    body = call.context.get("body")
    return copy(body) if body is not None or call.hook == "stream" else call.payload


def _of_context(key: str, otherwise: Callable[[], Any] | None = None) -> Maker:
    """Returns a maker for a value that the server sends under ``key``; each call gets its own copy."""

    def make(call: Call) -> Any:
        value = call.context.get(key)
        if value is None and otherwise is not None:
            return otherwise()
        return copy(value)

    return make


def _of_chat(key: str, missing: Any = None) -> Maker:
    """Returns a maker for an id that the server sends by itself or within the metadata."""

    def make(call: Call) -> Any:
        value = call.context.get(key)
        if value is None:
            metadata = call.context.get("metadata")
            value = metadata.get(key) if isinstance(metadata, dict) else None
        return missing if value is None else value

    return make


def _tools(call: Call) -> Any:
    tools = call.context.get("tools")
    return dict(tools) if tools else {}


def _event_object(call: Call) -> Any:
    return EventObject(**{str(k): copy(v) for k, v in call.payload.items()}) if isinstance(call.payload, dict) else None


def _of_event(key: str) -> Maker:
    def make(call: Call) -> Any:
        return copy(call.payload.get(key)) if isinstance(call.payload, dict) else None

    return make


class EventObject(SimpleNamespace):
    """A system event with attributes, for authors who prefer ``event.subject`` to ``event["subject"]``."""

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Returns the event as a dict."""
        return dict(vars(self))

    def model_dump_json(self, *, indent: int | None = None, **_: Any) -> str:
        """Returns the event as JSON."""
        return json.dumps(vars(self), indent=indent, ensure_ascii=False)

    def __getitem__(self, key: str) -> Any:
        return vars(self)[key]


_ENTRIES = (
    Argument(
        "__user__",
        ALL_HOOKS,
        "The caller as a dict: id, email, name, role and more, and his user valves under `valves`.",
        _user,
        ("user",),
    ),
    Argument("user", REQUEST_HOOKS, "The same dict under the name that older functions use.", _user, ("user",)),
    Argument(
        "__metadata__",
        ALL_HOOKS,
        'The request\'s metadata as a dict; in inlet and request it is also `body["metadata"]`.',
        _metadata,
        ("metadata",),
    ),
    Argument(
        "__event_emitter__",
        ALL_HOOKS,
        'An async callable that sends an event `{"type", "data"}` to the client.',
        _emitter,
        ("metadata",),
    ),
    Argument(
        "__event_call__", ALL_HOOKS, "An async callable that sends an event and returns the client's answer.", _caller
    ),
    Argument(
        "__request__",
        ALL_HOOKS,
        "The HTTP request as a Starlette `Request`, without credentials; None when there was none.",
        _request,
        ("request", "metadata"),
    ),
    Argument("__model__", ALL_HOOKS, "The model that was asked for, as a dict.", _model, ("model", "metadata")),
    Argument("__id__", ALL_HOOKS, "The id of this function; in an action, of the sub-action that was clicked.", _id),
    Argument(
        "__chat_id__",
        ALL_HOOKS,
        "The id of the chat; empty for a plain API call.",
        _of_chat("chat_id", ""),
        ("chat_id", "metadata"),
    ),
    Argument(
        "__message_id__",
        ALL_HOOKS,
        "The id of the answer's message, or None.",
        _of_chat("message_id"),
        ("message_id", "metadata"),
    ),
    Argument(
        "__session_id__",
        ALL_HOOKS,
        "The id of the client's session, or None.",
        _of_chat("session_id"),
        ("session_id", "metadata"),
    ),
    Argument(
        "__oauth_token__",
        ALL_HOOKS,
        "The caller's OAuth token as a dict, or None.",
        _of_context("oauth_token"),
        ("oauth_token",),
    ),
    Argument(
        "__files__",
        ALL_HOOKS,
        "The files of the request as a list of dicts; empty when there are none.",
        _of_context("files", list),
        ("files",),
    ),
    Argument(
        "__tools__",
        ALL_HOOKS,
        "The tools of the request, name to entry; empty when there are none.",
        _tools,
        ("tools",),
    ),
    Argument(
        "__task__",
        ALL_HOOKS,
        "The background task that is asked for, such as `title_generation`; None in a chat.",
        _of_context("task"),
        ("task",),
    ),
    Argument(
        "__task_body__",
        ALL_HOOKS,
        "The body of that task as a dict, or None.",
        _of_context("task_body"),
        ("task_body",),
    ),
    Argument(
        "__features__",
        ALL_HOOKS,
        "The features that the client switched on, as a dict of booleans.",
        _of_context("features", dict),
        ("features",),
    ),
    Argument(
        "__body__",
        CHAT_HOOKS,
        "The request's payload; in stream, that of the request being answered, or None.",
        _body,
        ("body",),
    ),
    Argument("__messages__", CHAT_HOOKS, "The messages of the body as a list.", _messages),
    Argument("__event__", EVENT_HOOKS, "The system event as an object with attributes.", _event_object),
    Argument("__event_id__", EVENT_HOOKS, "The id of the system event.", _of_event("id")),
    Argument(
        "__event_name__", EVENT_HOOKS, "The name of the system event, such as `function.enabled`.", _of_event("event")
    ),
    Argument("__app__", EVENT_HOOKS, "The application, with `state` and `url_path_for`.", _app),
)

TABLE: dict[str, Argument] = {entry.name: entry for entry in _ENTRIES}

ALWAYS = frozenset(("id", "head", "profile"))


@lru_cache(maxsize=4096)
def context_for(hook: str, parameters: tuple[str, ...]) -> frozenset[str]:
    """Returns what of the context a call needs whose hook has these parameters: a worker is told no more than that."""
    keys = set(ALWAYS)
    for name in parameters:
        if name in TABLE:
            keys.update(TABLE[name].of)
    if hook in METADATA_IN_BODY:
        keys.add("metadata")
    return frozenset(keys)
