"""Which filters a request passes, in which order, and what happens when one of them fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from pipeline_app.answer import Head
from pipeline_app.context import adopt
from pipeline_app.errors import FunctionError
from pipeline_app.events import SKIPPED
from pipeline_app.metrics import count_skip
from pipeline_app.oauth import Tokens
from pipeline_app.runners.base import Outcome, Runner, Task, Worker
from pipeline_app.runs import Record
from pipeline_app.snapshot import Entry, Functions, Person, Preset

logger = logging.getLogger(__name__)

Json = dict[str, Any]

NO_MESSAGES = {"type": "TypeError", "message": "the body that came back has no list of messages", "line": None}


def chain(
    functions: Functions, preset: Preset | None, person: Person, model_id: str, requested: Iterable[str] | None
) -> list[Entry]:
    """Returns the filters of a request in the order they run.

    In question are the global ones and those attached to the model; of these, one with a toggle runs only
    if it is switched on: by the request, else by the user's own defaults, else by the model's. Naming a
    filter never adds one that is not in question.
    """
    if not functions.filters:
        return []
    attached = preset.filters if preset is not None else ()
    on: frozenset[str]
    if requested is not None:
        on = frozenset(requested)
    else:
        own = person.default_filters.get(model_id, person.default_filters.get("*"))
        on = frozenset(own) if own is not None else preset.default_filters if preset is not None else frozenset()
    return [
        entry
        for entry in functions.filters
        if (entry.is_global or entry.id in attached) and (not entry.toggle or entry.id in on)
    ]


class Chain:
    """The filters of one request, each held on one worker from its first hook to its last."""

    def __init__(self, runner: Runner, entries: list[Entry], person: Person, record: Record) -> None:
        self._runner = runner
        self._entries = entries
        self._person = person
        self._record = record
        self.tokens = Tokens(person)
        self._workers: dict[str, Worker] = {}
        self._skipped: set[tuple[str, str]] = set()

    def with_hook(self, hook: str) -> list[Entry]:
        """Returns the filters that have a hook, without those that failed in it and were skipped."""
        return [e for e in self._entries if hook in e.manifest["hooks"] and (e.id, hook) not in self._skipped]

    @property
    def held(self) -> bool:
        """Whether a filter's policy holds the whole stream until its outlet has spoken."""
        return any(e.policy.stream_mode == "hold" for e in self.with_hook("outlet"))

    def release(self) -> None:
        for worker in self._workers.values():
            worker.release()
        self._workers.clear()

    async def run(self, hook: str, body: Json, context: Json, on_event: Callable[[Json], None]) -> Json:
        """Passes a body through the ``hook`` of each filter and returns it; ``context["metadata"]`` moves along.

        Raises ``FunctionError`` when a filter fails whose policy says ``block``.
        """
        owned = False  # the first body belongs to the request; what a filter returned is the chain's own
        for entry in self.with_hook(hook):
            outcome = await self._call(entry, hook, body, context, on_event, owned)
            if outcome is not None:
                owned = True
                body = outcome.value
                context["metadata"] = adopt(context["metadata"], outcome.metadata)
        return body

    async def stream(
        self, pieces: list[Json | str], head: Head, context: Json, on_event: Callable[[Json], None]
    ) -> list[Json | str]:
        """Passes ready chunks, and texts of chunks, through the ``stream`` hooks; returns those no filter dropped."""
        filters = self.with_hook("stream")
        if filters:
            context = {**context, "head": (head.id, head.created, head.model)}
        for entry in filters:
            if not pieces:
                break
            outcome = await self._call(entry, "stream", pieces, context, on_event, True)
            if outcome is not None:
                pieces = outcome.value if None not in outcome.value else [p for p in outcome.value if p is not None]
        return pieces

    async def _call(
        self,
        entry: Entry,
        hook: str,
        payload: Any,
        context: Json,
        on_event: Callable[[Json], None],
        owned: bool,
    ) -> Outcome | None:
        """Returns how a filter's hook ended; None when it failed and this hook is skipped from here on."""
        started, waited = time.perf_counter(), 0.0
        limit = entry.policy.time_limit(hook)
        try:
            worker = self._workers.get(entry.id)
            if worker is None:
                worker = self._workers[entry.id] = await self._runner.prepare(entry.code)
                waited = time.perf_counter() - started
            task = Task(
                hook,
                payload,
                await self.tokens.context({**context, "id": entry.id}, entry.code, hook),
                entry.set_valves(hook),
                self._person.valves_of(entry, hook),
                on_event,
                self._record.ask,
                limit * len(payload) if hook == "stream" else limit,
                owned=owned and entry.policy.on_error != "skip",
                caller=self._person,
            )
            self._record.begin(task)
            try:
                outcome = await self._runner.call(worker, task)
            finally:
                self._record.done(task)
            if hook != "stream" and not isinstance(outcome.value.get("messages"), list):
                raise FunctionError(entry.id, hook, NO_MESSAGES)
        except FunctionError as error:
            self._record.step(entry.code, hook, error.outcome or Outcome(wall=time.perf_counter() - started), error)
            if entry.policy.on_error != "skip" or self._record.stopping:
                raise
            self._skipped.add((entry.id, hook))
            count_skip(entry.id, hook)
            logger.warning("Filter '%s' failed in %s and was skipped: %s", entry.id, hook, error.message)
            on_event({"type": SKIPPED, "data": {"filter": entry.id, "hook": hook, "error": error.message}})
            return None
        self._record.step(entry.code, hook, outcome, waited=waited)
        return outcome
