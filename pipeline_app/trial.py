"""One hook tried on its own, without a chat around it: what a developer sees while writing a function."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from pipeline_app.answer import Head, Reader, Transcript
from pipeline_app.context import CONSUMED, Caller, context_of, metadata_of
from pipeline_app.errors import Busy, FunctionError, SandboxLimit, WorkerDied
from pipeline_app.events import Channel
from pipeline_app.runners.base import Code, Outcome, Runner, Task
from pipeline_app.runs import Record
from pipeline_app.snapshot import Person
from pipeline_app.worker.answers import Event

Json = dict[str, Any]

HOOKS = ("pipe", "pipes", "inlet", "request", "stream", "outlet", "action", "event")
MESSAGE_HOOKS = frozenset({"pipe", "inlet", "request", "outlet", "action"})
"""Hooks whose body has messages: where none are given, an empty list."""


@dataclass(slots=True)
class Given:
    """What a hook is tried with. ``valves`` are all that are set for this call, ``user_valves`` the caller's.

    ``answers`` are what ``__event_call__`` returns, in order; after the last it gets False, as if the person
    had closed the dialog. For ``stream`` the body is one event, or a list of them.
    """

    body: Any = None
    metadata: Json = field(default_factory=dict)
    model: Json = field(default_factory=dict)
    files: list[Any] | None = None
    valves: Json = field(default_factory=dict)
    user_valves: Json | None = None
    answers: list[Any] = field(default_factory=list)


class Trial:
    """One try. A channel gets ``{"item"}``, ``{"event"}`` and ``{"call"}`` objects as they come."""

    def __init__(
        self,
        runner: Runner,
        code: Code,
        hook: str,
        caller: Caller,
        given: Given,
        channel: Channel | None = None,
    ) -> None:
        self.runner = runner
        self.code = code
        # Older actions have ``run`` where others have ``action``.
        hooks = code.manifest.get("hooks") or {}
        self.hook = "run" if hook == "action" and "run" in hooks and "action" not in hooks else hook
        self.caller = caller
        self.given = given
        self.record = Record(caller.person, caller.request_id, "trial", code.function_id)
        self.events: list[Json] = []
        self.calls: list[Json] = []
        self._channel = channel
        self._answers = iter(given.answers)
        self._ready = 0.0

    async def run(self) -> Json:
        """Returns ``{"result", "events", "calls", "logs", "error", "timing", "run"}``.

        A function that fails is an answer with ``error``. Raises ``RunStopped``, and ``Busy`` when the call found
        no place.
        """
        result, outcome, error = None, Outcome(), None
        started = self._ready = time.perf_counter()
        try:
            with self.record:
                try:
                    result, outcome = await self._call()
                except FunctionError as failure:
                    error = failure
                    outcome = failure.outcome or Outcome(wall=time.perf_counter() - started, output=failure.output)
                    if isinstance(failure, Busy) or self.record.stopped:
                        raise
                    self.record.fail(failure)
                finally:
                    outcome.wall = outcome.wall or time.perf_counter() - started
                    self.record.step(self.code, self.hook, outcome, error, waited=self._ready - started)
        finally:
            self.record.end()
        return {
            "result": result,
            "events": self.events,
            "calls": self.calls,
            "logs": outcome.output,
            "error": None if error is None else _told(error),
            "timing": {name: self.record.steps[-1][name] for name in ("queue_ms", "wall_ms", "cpu_ms", "memory_mb")},
            "run": str(self.record.id),
        }

    def _task(self) -> Task:
        given, code, person = self.given, self.code, self.caller.person
        body = given.body
        if self.hook in MESSAGE_HOOKS or self.hook == "run":
            body = {"model": code.function_id, "messages": [], **(body or {})}
        asked = body if isinstance(body, dict) else {}
        metadata = metadata_of(asked, person, given.model, "") | given.metadata
        if given.files is not None:
            metadata["files"] = given.files
        if self.hook == "pipe":
            body = {name: value for name, value in body.items() if name not in CONSUMED}
        limits = code.policy
        return Task(
            self.hook,
            body if self.hook != "stream" or isinstance(body, list) else [body],
            {**context_of(self.caller, metadata, given.model), "id": code.function_id},
            given.valves,
            given.user_valves,
            self._emit,
            self._ask,
            limits.time_limit("action" if self.hook == "run" else self.hook),
            limits.time_limit("first_chunk") if self.hook == "pipe" else None,
            caller=person,
        )

    def _tell(self, frame: Json) -> None:
        if self._channel is not None:
            self._channel.put(frame)

    def _emit(self, event: Json) -> None:
        self.events.append(event)
        self._tell({"event": event})

    async def _ask(self, question: Json) -> Any:
        call = {**question, "answer": next(self._answers, False)}
        self.calls.append(call)
        self._tell({"call": call})
        return call["answer"]

    async def _call(self) -> tuple[Any, Outcome]:
        task = self._task()
        worker = await self.runner.prepare(self.code)
        self._ready = time.perf_counter()
        try:
            self.record.begin(task)
            if self.hook == "pipe":
                return await self._answer(worker, task)
            outcome = await self.runner.call(worker, task)
            if self.hook == "stream" and not isinstance(self.given.body, list):
                return outcome.value[0], outcome
            return outcome.value, outcome
        finally:
            self.record.done(task)
            worker.release()

    async def _answer(self, worker: Any, task: Task) -> tuple[Any, Outcome]:
        """Returns what a pipe answered, as a message or as the object it returned whole."""
        function_id = self.code.function_id
        reader, transcript = Reader(Head(function_id), function_id), Transcript()
        stream = self.runner.stream(worker, task)
        failure: FunctionError | None = None
        try:
            async for items in stream:
                pieces = reader.read(items)
                transcript.add(pieces)
                for piece in pieces:
                    if isinstance(piece, Event):
                        self._emit(piece)
                    else:
                        self._tell({"item": piece})
                if self._channel is not None:
                    await self._channel.send([])  # not faster than the reader
        except FunctionError as error:
            failure = error
            raise
        finally:
            await stream.aclose()
            if failure is not None and failure.outcome is None:
                failure.outcome = stream.outcome
        return reader.whole if reader.whole is not None else transcript.message(), stream.outcome


def _told(error: FunctionError) -> Json:
    told = {name: error.data.get(name) for name in ("type", "message", "line", "traceback")}
    if isinstance(error, SandboxLimit | WorkerDied) or told["type"] == "Unavailable":
        told["message"] = error.message  # what happened to it, as a whole sentence
    return {**told, "code": error.code}


async def try_hook(
    runner: Runner,
    code: Code,
    hook: str,
    *,
    person: Person,
    body: Any = None,
    valves: Json | None = None,
    user_valves: Json | None = None,
    metadata: Json | None = None,
) -> Json:
    """Tries a hook for somebody who sent no HTTP request; see ``Trial.run``."""
    given = Given(body=body, metadata=metadata or {}, valves=valves or {}, user_valves=user_valves)
    return await Trial(runner, code, hook, Caller(person, "trial"), given).run()
