"""Hooks that answer with a value: how they are called, and what their answers must be."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from . import valves
from .answers import Whole, action_result, collected, refused
from .arguments import METADATA_IN_BODY
from .chunks import Head, chunk_of, text_of
from .errors import HookError
from .jsonable import jsonable, weight
from .jsonable import text as plain
from .plans import Plan
from .running import Stage

if TYPE_CHECKING:
    from .calls import Call

BODY_HOOKS = frozenset(("inlet", "request", "outlet"))


def invoke(plan: Plan, payload: Any, arguments: dict[str, Any]) -> Any:
    """Calls the hook the way its signature wants its payload."""
    if plan.payload is None:
        return plan.call(**arguments)
    if plan.payload == "":
        return plan.call(payload, **arguments)
    return plan.call(**{plan.payload: payload}, **arguments)


class Single:
    """A hook called once: inlet, request, outlet, action, event, pipes."""

    def __init__(self, call: Call, plan: Plan) -> None:
        self._call = call
        self._plan = plan
        self._lent = False  # body["metadata"] is ours and goes out again

    def stage(self) -> Stage:
        """Returns where the call begins."""
        return Stage(False, self._on_loop) if self._plan.is_async else Stage(True, self._on_thread)

    def _begin(self) -> Any:
        call = self._call
        if call.hook in METADATA_IN_BODY and isinstance(call.payload, dict):
            shared = call.shared_metadata()
            if call.payload.get("metadata") is not shared:
                call.payload["metadata"] = shared
                self._lent = True
        return invoke(self._plan, call.payload, call.arguments(self._plan))

    async def _on_loop(self) -> Stage | None:
        result = self._begin()
        if self._plan.is_generator and hasattr(result, "__aiter__"):
            result = [item async for item in result]
        elif isawaitable(result):
            result = await result
        await self._settled(result)
        return None

    def _on_thread(self) -> Stage | None:
        result = self._begin()
        if isawaitable(result) or hasattr(result, "body_iterator"):
            return Stage(False, lambda: self._settled(result), result)
        self._finish(result)
        return None

    async def _settled(self, result: Any) -> None:
        if isawaitable(result):
            result = await result
        if hasattr(result, "body_iterator"):
            result = await collected(result)
        self._finish(result)

    def _finish(self, result: Any) -> None:
        call = self._call
        if call.hook in BODY_HOOKS:
            answer: Any = self._body(result)
        elif call.hook in ("action", "run"):
            answer, event = action_result(result, str(call.context.get("id") or call.loaded.function_id))
            if event is not None:
                call.send(event)
            if isinstance(answer, Whole) and answer.status >= 400:
                raise refused(answer)
        elif call.hook == "pipes":
            answer = self._listed(result)
        else:
            answer = jsonable(result)
        call.checked(answer, weight(answer), "returned")
        call.result = answer

    def _body(self, result: Any) -> dict[str, Any]:
        call = self._call
        if result is None:
            result = call.payload
        shared = self._lent and type(result) is dict and result.get("metadata") is call.shared_metadata()
        if shared:
            result = {name: value for name, value in result.items() if name != "metadata"}
            call.keep_metadata()
        answer = jsonable(result)
        if not isinstance(answer, dict):
            raise HookError.saying(
                "TypeError",
                f"{call.hook} of {call.loaded.function_id} returned {_named(result)}. "
                "A filter returns the body (a dict), or nothing when it changed the body in place.",
            )
        if call.hook in METADATA_IN_BODY and not shared:
            left = answer.pop("metadata", None) if self._lent else answer.get("metadata")
            if isinstance(left, dict):
                call.metadata = left
        return answer

    def _listed(self, result: Any) -> list[Any] | None:
        if result is None:
            return None
        if isinstance(result, (str, bytes, dict)) or not isinstance(result, Iterable):
            raise HookError.saying(
                "TypeError",
                f"pipes of {self._call.loaded.function_id} returned {_named(result)}. "
                'It returns a list of {"id", "name"}.',
            )
        listed: list[Any] = jsonable(list(result))
        return listed


class Stream:
    """The stream hook, called for a batch of events in one go.

    A text among them is a chunk that is nothing but text (``chunks.py``), and so is a text among the answers.
    """

    def __init__(self, call: Call, plan: Plan) -> None:
        self._call = call
        self._plan = plan
        self._answers: list[Any] = []
        self._arguments: dict[str, Any] = {}
        head = call.context.get("head")
        self._head = Head(*head) if head is not None else None

    def stage(self) -> Stage:
        """Returns where the call begins."""
        return Stage(False, self._on_loop) if self._plan.is_async else Stage(True, self._on_thread)

    def _begin(self) -> None:
        self._call.progress = {"index": 0, "results": self._answers}
        self._arguments = self._call.arguments(self._plan)

    def _next(self) -> Any:
        self._call.progress["index"] = index = len(self._answers)
        event = self._call.payload[index]
        if type(event) is str and self._head is not None:
            event = chunk_of(self._head, event)
        return invoke(self._plan, event, self._arguments)

    def _keep(self, result: Any) -> None:
        if not result:
            self._answers.append(None)
            return
        text = text_of(self._head, result) if self._head is not None else None
        self._answers.append(self._object(result) if text is None else plain(text))

    def _object(self, result: Any) -> dict[str, Any] | str:
        answer = jsonable(result)
        if not isinstance(answer, (dict, str)):
            raise HookError.saying(
                "TypeError",
                f"stream of {self._call.loaded.function_id} returned {_named(result)}. "
                "A filter returns the event (a dict), or nothing to drop it.",
            )
        return answer

    def _settle(self) -> None:
        if weight(self._answers) > self._call.output_limit:
            for index, answer in enumerate(self._answers):
                self._call.progress["index"] = index
                self._call.checked(answer, weight(answer), "returned")
        self._call.result = self._answers

    async def _on_loop(self, first: Any = None) -> Stage | None:
        if first is None:
            self._begin()
        else:
            self._keep(await first)
        for _ in range(len(self._call.payload) - len(self._answers)):
            result = self._next()
            self._keep(await result if isawaitable(result) else result)
        self._settle()
        return None

    def _on_thread(self) -> Stage | None:
        self._begin()
        for _ in self._call.payload:
            result = self._next()
            if isawaitable(result):
                return Stage(False, partial(self._on_loop, result), result)
            self._keep(result)
        self._settle()
        return None


class Options:
    """The schema of valves with its dynamic options; payload is ``{"scope": "valves" | "user_valves"}``."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def stage(self) -> Stage:
        """Returns where the call begins."""
        return Stage(True, self._on_thread)

    def _on_thread(self) -> Stage | None:
        call = self._call
        call.result = valves.options(call.loaded, call.payload["scope"], call.context.get("user"))
        return None


def _named(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
