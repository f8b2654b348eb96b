"""What a model answers to a function: a chat within the request that the function runs for.

It is answered for the person behind that request, whoever the function names, and as they may use the model. It ends
with the call that asks: when that is over, stopped or out of time, so is what it asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import groupby
from typing import Any

from pipeline_app.attachments import with_files
from pipeline_app.bodies import check_chat
from pipeline_app.context import Caller, context_of, metadata_of
from pipeline_app.errors import FunctionError, RequestError
from pipeline_app.events import Channel
from pipeline_app.pipeline import Chat
from pipeline_app.pipes import Catalog, described
from pipeline_app.runners.base import Identity, Runner, Task
from pipeline_app.runs import Record
from pipeline_app.snapshot import snapshot
from pipeline_app.sse import Frames
from pipeline_app.wire import DONE
from pipeline_app.worker.answers import Event

Json = dict[str, Any]

DEEPEST = 8
"""How many calls of models may be within each other."""


class Nested(Record):
    """What a hook asks of a model while it runs: its calls and steps belong to the record of the hook's request."""

    __slots__ = ("_ask", "_depth", "_outer")

    def __init__(self, outer: Task, model: str) -> None:
        self._outer: Record = outer.record
        self._ask = outer.ask
        self._depth = outer.depth + 1
        super().__init__(self._outer.person, self._outer.request_id, "chat", model)
        self.steps = self._outer.steps

    def __enter__(self) -> None:
        return None

    @property
    def ask(self) -> Callable[[Json], Awaitable[Any]] | None:
        return self._ask

    def begin(self, task: Task) -> None:
        self._outer.begin(task)
        task.depth = self._depth

    def done(self, task: Task) -> None:
        self._outer.done(task)

    def end(self) -> None:
        return None


class Completions:
    """The models, as functions may ask them."""

    def __init__(self, runner: Callable[[], Runner], catalog: Catalog) -> None:
        self._runner = runner
        self._catalog = catalog

    async def answer(self, identity: Identity, body: Json, *, filtered: bool, system: bool) -> AsyncIterator[Json]:
        """Yields ``{"begun"}``, ``{"event"}``, ``{"data"}`` (frames, for a stream), ``{"answer"}`` (for any other) and,
        where the model's functions fail, ``{"error"}``.

        ``filtered``: filters see it, as if a client had asked; ``system``: a preset's system prompt is added. Raises
        ``RequestError`` before any function runs.
        """
        chat = await self._chat(identity, body, filtered, system)
        yield {"begun": chat.head.model}
        channel, answers = Channel(), list[Json]()
        frames = Frames(chat.head)

        async def complete() -> None:
            try:
                answers.append(await chat.complete(channel.put))
            except BaseException as error:
                channel.end(error)
                raise
            channel.end()

        streams = bool(body.get("stream"))
        work = asyncio.create_task(chat.stream(channel) if streams else complete(), name=f"models for {chat.record.id}")
        try:
            async for batch in channel.batches():
                for told, pieces in groupby(batch, lambda piece: isinstance(piece, Event)):
                    if told:
                        for event in pieces:
                            yield {"event": event}
                    elif said := frames.encode(list(pieces)):
                        yield {"data": said.decode()}
            if streams:
                yield {"data": DONE.decode()}
            for answer in answers:
                yield {"answer": {name: value for name, value in answer.items() if name != "events"}}
        except FunctionError as error:
            yield {"error": {"message": error.message, "status": error.status, "code": error.code}}
        finally:
            await _ended(work)

    async def _chat(self, identity: Identity, body: Json, filtered: bool, system: bool) -> Chat:
        task: Task | None = identity.task
        if task is None or task.record is None:
            raise RequestError("Models answer only while a hook runs for a request.")
        if task.depth >= DEEPEST:
            raise RequestError(
                f"A model was asked within a model {DEEPEST} times by now, and no deeper: do the functions behind "
                f"them, such as '{identity.function_id}', ask each other in a circle?"
            )
        person = identity.caller
        body = await with_files(check_chat(body), person)
        caller = Caller(person, task.record.request_id, task.context.get("request") or {})
        chat = Chat(
            self._runner(),
            self._catalog,
            await snapshot.functions(),
            caller,
            body,
            record=Nested(task, body["model"]),
            filtered=filtered,
        )
        metadata = _metadata(task, body, chat)
        chat.context = context_of(
            caller, metadata, chat.model, task=metadata.get("task"), task_body=metadata.get("task_body")
        )
        preset = chat.target.preset
        if preset is not None and not system:
            params = {name: value for name, value in preset.params.items() if name != "system"}
            chat.target = replace(chat.target, preset=replace(preset, system="", params=params))
        return chat

    async def models(self, identity: Identity) -> list[Json]:
        """Returns what the person may call, in Open WebUI's shape."""
        functions = await snapshot.functions()
        http = (identity.task.context.get("request") or {}) if identity.task is not None else {}
        found = await self._catalog.models(functions, Caller(identity.caller, "", http))
        return [described(functions, model, pipe, preset) for model, pipe, preset in found]


def _metadata(task: Task, body: Json, chat: Chat) -> Json:
    """Returns the metadata of a chat within another: that of the request, with what the function says beside it."""
    outer: Json = task.context.get("metadata") or {}
    own = metadata_of(body, chat.caller.person, chat.model, outer.get("user_agent") or "")
    # What the body says goes before what the request said; chat and message stay those of the request.
    said = {name for name in ("files", "features", "variables", "tool_ids", "filter_ids") if body.get(name) is not None}
    left = {name: value for name, value in outer.items() if name not in said | {"model", "params", "filter_ids"}}
    return {**own, **left}


async def _ended(work: asyncio.Task[None]) -> None:
    """Ends a chat whose answer nobody reads any further; what it ended with was told through its channel."""
    work.cancel()
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
