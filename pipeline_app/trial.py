"""One hook tried on its own, without a chat around it: what a developer sees while writing a function."""

from __future__ import annotations

from typing import Any

from pipeline_app.answer import Head, Reader, Transcript
from pipeline_app.context import Caller, context_of, metadata_of
from pipeline_app.errors import FunctionError
from pipeline_app.runners.base import Code, Outcome, Runner, Task
from pipeline_app.snapshot import Person

Json = dict[str, Any]


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
    """Returns ``{"result", "events", "logs", "error", "timing"}``; a failing function is an answer with ``error``.

    ``valves`` and ``user_valves`` apply to this call only.
    """
    caller = Caller(person, "trial")
    payload = body if body is not None else {"model": code.function_id, "messages": []}
    asked = payload if isinstance(payload, dict) else {}
    context = context_of(caller, {**metadata_of(asked, person, {}, ""), **(metadata or {})}, {})
    events: list[Json] = []
    task = Task(
        hook,
        [payload] if hook == "stream" else payload,
        {**context, "id": code.function_id},
        valves or {},
        user_valves,
        events.append,
        time_limit=code.policy.time_limit(hook),
    )
    outcome, result, error = Outcome(), None, None
    try:
        worker = await runner.prepare(code)
        try:
            if hook == "pipe":
                result, outcome = await _answer(runner, worker, task, code, events)
            else:
                outcome = await runner.call(worker, task)
                result = outcome.value[0] if hook == "stream" else outcome.value
        finally:
            worker.release()
    except FunctionError as failure:
        error = {name: failure.data.get(name) for name in ("type", "message", "line", "traceback")}
        outcome.output = failure.output or outcome.output
    return {
        "result": result,
        "events": events,
        "logs": outcome.output,
        "error": error,
        "timing": {"wall_ms": round(outcome.wall * 1000, 3), "cpu_ms": outcome.cpu and round(outcome.cpu * 1000, 3)},
    }


async def _answer(runner: Runner, worker: Any, task: Task, code: Code, events: list[Json]) -> tuple[Any, Outcome]:
    """Returns what a pipe answered, as a message or as the object it returned whole."""
    reader, transcript = Reader(Head(code.function_id), code.function_id), Transcript()
    stream = runner.stream(worker, task)
    try:
        async for items in stream:
            transcript.add(reader.read(items))
    finally:
        await stream.aclose()
    events += transcript.events
    return reader.whole if reader.whole is not None else transcript.message(), stream.outcome
