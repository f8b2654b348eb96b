"""One call of one hook that gives one value, from the worker that is waited for to the step of its run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from pipeline_app.errors import FunctionError
from pipeline_app.runners.base import Code, Outcome, Runner, Task
from pipeline_app.runs import Record


async def noted(record: Record, runner: Runner, code: Code, hook: str, make: Callable[[], Awaitable[Task]]) -> Outcome:
    """Calls a hook with the task that ``make`` returns and adds a step to the run, however that ends.

    Raises ``FunctionError``, also what ``make`` raises of it, and ``RunStopped`` when the run was stopped before.
    """
    started, waited = time.perf_counter(), 0.0
    outcome, failure = Outcome(), None
    try:
        task = await make()
        worker = await runner.prepare(code)
        waited = time.perf_counter() - started
        try:
            record.begin(task)
            outcome = await runner.call(worker, task)
        finally:
            record.done(task)
            worker.release()
    except FunctionError as error:
        failure = error
        outcome.output = error.output
        raise
    finally:
        outcome.wall = outcome.wall or time.perf_counter() - started
        record.step(code, hook, outcome, failure, waited=waited)
    return outcome
