"""Triggering an action: what a button under an answer does, for any API client."""

from __future__ import annotations

import uuid
from typing import Any

from pipeline_app.calls import noted
from pipeline_app.context import Caller, context_of, metadata_of
from pipeline_app.errors import FunctionError, RequestError
from pipeline_app.events import Channel
from pipeline_app.oauth import Tokens
from pipeline_app.pipes import actions_of, find, target_model
from pipeline_app.runners.base import Runner, Task
from pipeline_app.runs import Record
from pipeline_app.snapshot import Functions
from pipeline_app.worker.answers import Event

Json = dict[str, Any]


class ActionNotFound(RequestError):
    """No such action, or none that the caller may trigger on this model."""

    status = 404


class Trigger:
    """One request to run an action, or one of its sub-actions (``{id}.{sub}``). ``events`` collects what it emits."""

    def __init__(self, runner: Runner, functions: Functions, caller: Caller, action_id: str, body: Json) -> None:
        self.runner = runner
        self.caller = caller
        # A function's id has no dot; what follows the first one is the part's.
        function_id, dot, sub = action_id.partition(".")
        action = functions.active(function_id, "action")
        if action is None or (dot and sub not in (part["id"] for part in action.manifest.get("actions") or ())):
            raise ActionNotFound(f"Action not found: {action_id}", param="action_id", code="action_not_found")
        self.action = action
        self.id = sub or action.id
        """What the function finds in ``__id__``."""
        self.record = Record(caller.person, caller.request_id, "action", action_id)
        self.events: list[Json] = []
        self._channel: Channel | None = None
        # What a web client would send stands in the body; a plain API client may leave it out.
        self.body = {
            **body,
            "messages": body.get("messages") or [],
            "chat_id": body.get("chat_id") or "",
            "session_id": body.get("session_id"),
            "id": body.get("id") or f"msg_{uuid.uuid4().hex[:24]}",
        }
        for name in ("model_item", "stream", "interactive", "background"):
            self.body.pop(name, None)
        self.model: Json = {}
        preset = None
        if body.get("model"):
            target = find(functions, caller.person, body["model"])
            self.model, preset = target_model(target), target.preset
        if not caller.person.is_admin and action not in actions_of(functions, preset):
            raise ActionNotFound(
                f"Action not available: {action_id}. It is neither global nor attached to the model named.",
                param="model",
                code="action_not_available",
            )

    async def run(self) -> Any:
        """Returns what the action returned. Raises ``FunctionError``."""
        hook = "action" if self.action.has("action") else "run"
        try:
            with self.record:
                result = await self._run(hook)
                if self.record.background:
                    self.record.answer = {"result": result, "events": self.events}
                return result
        finally:
            self.record.end()

    async def stream(self, channel: Channel) -> None:
        """Sends ``{"event": ...}`` as they come, then ``{"result": ...}``; ends the channel, with the error if any."""
        self._channel = channel
        try:
            channel.put({"result": await self.run()})
        except BaseException as error:
            channel.end(error)
            raise
        channel.end()

    def _tell(self, event: Json) -> None:
        self.events.append(event)
        if self._channel is not None:
            self._channel.put(Event(event))

    async def _run(self, hook: str) -> Any:
        action = self.action

        async def task() -> Task:
            person = self.caller.person
            if not action.has(hook):
                raise FunctionError(
                    action.id,
                    "action",
                    {"type": "AttributeError", "message": "the class Action has no method 'action'"},
                )
            metadata = metadata_of(self.body, person, self.model, "")
            context = {**context_of(self.caller, metadata, self.model), "id": self.id}
            return Task(
                hook,
                self.body,
                await Tokens(person).context(context, action.code, hook),
                action.set_valves(hook),
                person.valves_of(action, hook),
                self._tell,
                self.record.ask,
                time_limit=action.policy.time_limit("action"),
                caller=person,
            )

        return (await noted(self.record, self.runner, action.code, hook, task)).value
