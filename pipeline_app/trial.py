"""One hook tried on its own, without a chat around it: what a developer sees while writing a function."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from functions_app.fields import UndecryptableValves
from functions_app.models import FunctionVersion, Valves
from functions_app.roles import ACTIVATE, CONFIGURE
from functions_app.runtime import InvalidValves, Scope
from functions_app.valves import Rules, broken_rules, restored, too_deep
from pipeline_app.answer import Head, Reader, Transcript
from pipeline_app.configured import ruled
from pipeline_app.context import CONSUMED, Caller, context_of, metadata_of
from pipeline_app.errors import Busy, FunctionError, FunctionUnavailable, RequestError, SandboxLimit, WorkerDied
from pipeline_app.events import Channel
from pipeline_app.oauth import Tokens
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
    ask: Callable[[Json], Awaitable[Any]] | None = None
    """Who is asked when the answers are used up, instead of that."""
    profile: bool = False
    """Whether to tell where the hook spends its time; watching makes it slower."""


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
        """Returns ``{"result", "events", "calls", "logs", "error", "timing", "run"}``, and ``profile`` if asked for.

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
        told = {
            "result": result,
            "events": self.events,
            "calls": self.calls,
            "logs": outcome.output,
            "error": None if error is None else _told(error),
            "timing": {name: self.record.steps[-1][name] for name in ("queue_ms", "wall_ms", "cpu_ms", "memory_mb")},
            "run": str(self.record.id),
        }
        if self.given.profile:
            told["profile"] = outcome.profile or []
        return told

    def _task(self) -> Task:
        given, code, person = self.given, self.code, self.caller.person
        body = given.body
        if self.hook in MESSAGE_HOOKS or self.hook == "run":
            body = {"model": code.function_id, "messages": [], **(body or {})}
        asked = body if isinstance(body, dict) else {}
        metadata = metadata_of(asked, person, given.model, "") | given.metadata
        metadata["user_id"] = person.id  # whom published code, with its stored keys, takes it to be
        if given.files is not None:
            metadata["files"] = given.files
        if self.hook == "pipe":
            body = {name: value for name, value in body.items() if name not in CONSUMED}
        limits = code.policy
        return Task(
            self.hook,
            body if self.hook != "stream" or isinstance(body, list) else [body],
            {**context_of(self.caller, metadata, given.model), "id": code.function_id, "profile": given.profile},
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
        nobody = object()
        answer = next(self._answers, nobody)
        if answer is nobody:
            answer = await self.given.ask(question) if self.given.ask is not None else False
        call = {**question, "answer": answer}
        self.calls.append(call)
        self._tell({"call": call})
        return call["answer"]

    async def _call(self) -> tuple[Any, Outcome]:
        task = self._task()
        task.context = await Tokens(self.caller.person).context(task.context, self.code, self.hook)
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


def has_hook(manifest: Json, hook: str) -> bool:
    """Whether a function has a hook that can be tried, as its manifest says."""
    hooks = manifest["hooks"]
    if hook == "pipes":
        return manifest.get("pipes") is not None
    return hook in hooks or (hook == "action" and "run" in hooks)


def over(stored: Json, given: Json | None) -> Json:
    """Returns stored values with those given for this call over them; null means the code's own default."""
    return {name: value for name, value in {**stored, **(given or {})}.items() if value is not None}


def valves_to_try(version: FunctionVersion, given: Json | None, person: Person) -> Json:
    """Returns the valves of a try of a stored version. Raises ``FunctionUnavailable`` when they can't be read.

    A try that sees what administrators set could hand out secrets that nobody is ever shown. Code that nobody let
    serve could do so by itself, and published code with other valves beside the stored ones, such as another address
    for a key. So the first is for who may publish, the second for who may configure, too; others begin from nothing.
    """
    if version.state not in (FunctionVersion.State.LIVE, FunctionVersion.State.RETIRED):
        allowed = person.can(ACTIVATE)
    else:
        allowed = not given or person.can(CONFIGURE) or person.can(ACTIVATE)
    row = Valves.objects.filter(function=version.function_id).first()
    try:
        stored = row.values if row is not None and allowed else {}
    except UndecryptableValves as error:
        raise FunctionUnavailable(version.function_id, "load", str(error)) from None
    return _within(version, "valves", stored, given, row.rules if row else {}, person)


def user_valves_to_try(version: FunctionVersion, given: Json | None, person: Person) -> Json | None:
    """Returns the caller's own valves for a try of a stored version; None when it has none to set, as far as is known.

    Raises ``FunctionUnavailable`` when they can't be read.
    """
    function_id = version.function_id
    if given is None and version.manifest and version.manifest.get("user_valves") is None:
        return None
    if function_id in person.user_valves_errors:
        raise FunctionUnavailable(function_id, "load", person.user_valves_errors[function_id])
    rules = Valves.objects.filter(function=function_id).values_list("user_rules", flat=True).first() or {}
    return _within(version, "user_valves", person.user_valves.get(function_id, {}), given, rules, person)


def _within(
    version: FunctionVersion, scope: Scope, stored: Json, given: Json | None, rules: Rules, person: Person
) -> Json:
    """Returns what is stored, within administrators' rules, and over it what is given for this call.

    What is given keeps to the rules too, unless the caller may change them. A mask stands for the stored secret.
    """
    live = version.function.live
    schema = (version.manifest or (live.manifest if live is not None else None) or {}).get(scope)
    held, problem = ruled(schema, stored, rules)
    if problem:
        raise FunctionUnavailable(version.function_id, "load", problem)
    if not given:
        return held
    wanted, errors = restored(schema, given, stored) if not too_deep(given) else (given, [])
    errors = errors or ([] if person.can(CONFIGURE) else broken_rules(wanted, rules))
    if errors:
        refused = InvalidValves([{"loc": [scope, *error["loc"]], "msg": error["msg"]} for error in errors])
        raise RequestError(str(refused), param=scope, code="invalid_valves")
    # An empty text that is given for a secret is meant: it is for this call only.
    sent = {name: value if value in ("", None) else wanted.get(name) for name, value in given.items()}
    if person.can(CONFIGURE):
        return over(held, sent)
    held, problem = ruled(schema, over(stored, sent), rules)
    if problem:
        raise FunctionUnavailable(version.function_id, "load", problem)
    return held


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
