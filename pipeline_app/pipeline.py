"""The story of one chat: inlet filters, the pipe, stream filters, outlet filters.

No ``try`` about author code is here: the runner turns every failure into a ``FunctionError``.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from pipeline_app import news, wire
from pipeline_app.answer import Head, Piece, Reader, Transcript, delta_of
from pipeline_app.context import Caller, context_of, metadata_of
from pipeline_app.errors import FunctionError, RunStopped
from pipeline_app.events import AT_ONCE, CARRY_TEXT, OUTLET, Channel
from pipeline_app.filters import Chain, chain
from pipeline_app.pipes import Catalog, find, target_model
from pipeline_app.prompt import pipe_body
from pipeline_app.runners.base import Outcome, Runner, Task
from pipeline_app.runs import Record
from pipeline_app.snapshot import Functions
from pipeline_app.worker.answers import Event

Json = dict[str, Any]

_outlets: set[asyncio.Task[Any]] = set()


class Chat:
    """One request for a chat completion, from its body to its answer. Use it once.

    ``record`` is given where it is part of another request; ``filtered`` says whether filters see it.
    """

    def __init__(
        self,
        runner: Runner,
        catalog: Catalog,
        functions: Functions,
        caller: Caller,
        body: Json,
        *,
        record: Record | None = None,
        filtered: bool = True,
    ) -> None:
        self.runner = runner
        self.catalog = catalog
        self.functions = functions
        self.caller = caller
        self.body = body
        self.target = find(functions, caller.person, body["model"])
        self.record = record or Record(caller.person, caller.request_id, "chat", body["model"])
        self.head = Head(body["model"])
        self.reader = Reader(self.head, self.target.pipe.id)
        self.transcript = Transcript()
        self.usage_wanted = bool((body.get("stream_options") or {}).get("include_usage"))
        model = target_model(self.target)
        self.model = model
        agent = next((value for name, value in caller.http.get("headers", ()) if name == "user-agent"), "")
        self.context = context_of(caller, metadata_of(body, caller.person, model, agent), model)
        asked = body.get("filter_ids")
        entries = chain(functions, self.target.preset, caller.person, body["model"], asked) if filtered else []
        self.filters = Chain(runner, entries, caller.person, self.record)
        self._pipe_began = False
        self._outlet: asyncio.Task[list[Json]] | None = None

    # --- the two ways to be answered -----------------------------------------------------------

    async def complete(self, tell: Callable[[Event], object] | None = None) -> Json:
        """Returns the answer as one completion; ``tell`` hears of events as they come. Raises ``RequestError``."""

        async def keep(pieces: list[Piece]) -> None:
            self.transcript.add(pieces)
            if tell is not None:
                for piece in pieces:
                    if isinstance(piece, Event):
                        tell(piece)

        def note(event: Json) -> None:
            self.transcript.add([Event(event)])
            if tell is not None:
                tell(Event(event))

        async def answer() -> Json:
            body = await self._enter(note)
            await self._pipe(body, keep)
            return self._completion(await self._leave(note))

        completion: Json = await self._recorded(answer)
        return completion

    async def stream(self, channel: Channel) -> None:
        """Sends the answer in pieces, and ends the channel; with the error where it fails."""
        held: list[Piece] | None = [] if self.filters.held else None

        def tell(event: Json) -> None:
            if held is None or event.get("type") in AT_ONCE:
                channel.put(Event(event))
            else:
                held.append(Event(event))

        async def pass_on(pieces: list[Piece]) -> None:
            pieces = await self._through_stream_filters(pieces, tell)
            self.transcript.add(pieces)
            if held is None:
                await channel.send(pieces)
                return
            for piece in pieces:
                if isinstance(piece, Event):
                    tell(piece)
                else:
                    held.append(piece)

        async def answer() -> None:
            body = await self._enter(tell)
            await self._pipe(body, pass_on)
            await pass_on(self.reader.finish(None if self._usage_comes_apart else self.reader.usage))
            messages = await self._leave(tell)
            await channel.send(self._ending(messages, held))
            if self.record.background:
                self.record.answer = self._completion(messages)

        try:
            await self._recorded(answer)
        except BaseException as error:
            channel.end(error)
            raise
        channel.end()

    async def _recorded(self, answer: Callable[[], Awaitable[Any]]) -> Any:
        try:
            with self.record:
                return await answer()
        finally:
            self._finish()

    # --- the steps -----------------------------------------------------------------------------

    async def _enter(self, tell: Callable[[Json], None]) -> Json:
        """Passes the request through inlet and request filters; returns the body for the pipe."""
        await self.catalog.check(self.target, self.caller)
        # The worker puts the metadata into the body, and takes it out again.
        body = {name: value for name, value in self.body.items() if name != "metadata"}
        body = await self.filters.run("inlet", body, self.context, tell)
        metadata = self.context["metadata"]
        for name in ("files", "features", "tool_ids", "skill_ids", "terminal_id"):
            if name in body:
                metadata[name] = body[name]
        if any(entry.manifest.get("file_handler") for entry in self.filters.with_hook("inlet")):
            metadata["files"] = None
            body.pop("files", None)
        self.context["files"] = metadata.get("files") or []
        if body.get("model") != self.body["model"]:
            # A filter sends the request to another model; whether the caller may use that one is asked again.
            self.target = find(self.functions, self.caller.person, str(body.get("model")))
            self.reader.function_id = self.target.pipe.id
            await self.catalog.check(self.target, self.caller)
        body = await self.filters.run("request", body, self.context, tell)
        self.messages = body["messages"]
        return pipe_body(body, self.target, self.caller.person, metadata)

    async def _pipe(self, body: Json, sink: Callable[[list[Piece]], Awaitable[None]]) -> None:
        """Calls the pipe and hands on what it gives, as it comes."""
        pipe = self.target.pipe
        task = Task(
            "pipe",
            body,
            await self.filters.tokens.context({**self.context, "id": pipe.id}, pipe.code, "pipe"),
            pipe.set_valves("pipe"),
            self.caller.person.valves_of(pipe, "pipe"),
            ask=self.record.ask,
            time_limit=pipe.policy.time_limit("pipe"),
            first_limit=pipe.policy.time_limit("first_chunk"),
            caller=self.caller.person,
        )
        started = time.perf_counter()
        try:
            worker = await self.runner.prepare(pipe.code)
        except FunctionError as error:
            self.record.step(pipe.code, "load", Outcome(wall=time.perf_counter() - started), error)
            raise
        waited = time.perf_counter() - started
        failure: FunctionError | None = None
        try:
            self.record.begin(task)
        except RunStopped:
            worker.release()
            raise
        stream = self.runner.stream(worker, task)
        self._pipe_began = True
        try:
            async for items in stream:
                pieces = self.reader.read(items)
                if pieces:
                    await sink(pieces)
        except FunctionError as error:
            failure = error
            raise
        finally:
            await stream.aclose()
            worker.release()
            self.record.done(task)
            self.record.step(pipe.code, "pipe", stream.outcome, failure, waited=waited)

    async def _through_stream_filters(self, pieces: list[Piece], tell: Callable[[Json], None]) -> list[Piece]:
        if not self.filters.with_hook("stream"):
            return pieces
        passed: list[Piece] = []
        ready: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, Event):
                passed += await self.filters.stream(ready, self.head, self.context, tell)
                passed.append(piece)
                ready = []
            else:
                ready.append(piece)
        return passed + await self.filters.stream(ready, self.head, self.context, tell)

    async def _leave(self, tell: Callable[[Json], None]) -> list[Json] | None:
        """Runs the outlet filters for each choice; returns the messages they left, None when there are none.

        They run to their end even if the client leaves meanwhile.
        """
        if not self.filters.with_hook("outlet"):
            return None
        self._outlet = asyncio.create_task(self._outlets(tell))
        return await asyncio.shield(self._outlet)

    async def _outlets(self, tell: Callable[[Json], None]) -> list[Json]:
        return [await self._outlet_of(index, tell) for index in self.transcript.indexes]

    async def _outlet_of(self, index: int, tell: Callable[[Json], None]) -> Json:
        message = self._message(index)
        metadata = self.context["metadata"]
        message_id = metadata["message_id"] or f"msg_{uuid.uuid4().hex[:24]}"
        earlier = [{"id": None, **m} if isinstance(m, dict) else m for m in self.messages]
        body = {
            "model": self.body["model"],
            "messages": [*earlier, {"id": message_id, **message, "content": message["content"] or ""}],
            "filter_ids": metadata["filter_ids"],
            "chat_id": metadata["chat_id"],
            "session_id": metadata["session_id"],
            "id": message_id,
        }
        left = await self.filters.run("outlet", body, self.context, tell)
        spoken = [m for m in left["messages"] if isinstance(m, dict) and m.get("role") == "assistant"]
        final = dict(spoken[-1]) if spoken else {"role": "assistant", "content": ""}
        for name in ("id", "timestamp", "info", "originalContent"):
            final.pop(name, None)
        if not final.get("content") and message["content"] is None:
            final["content"] = None
        return final

    def _message(self, index: int) -> Json:
        message = self.transcript.message(index)
        if index == 0 and self.transcript.carries_text:
            message["content"] = self.transcript.shown_text()
        return message

    def _finish(self) -> None:
        """Lets go of workers and record; first lets the outlets see what went out of an answer cut short."""
        if (
            self._pipe_began
            and self._outlet is None
            and self.record.outcome in ("cancelled", "stopped")
            and self.filters.with_hook("outlet")
        ):
            self.record.stopping = False
            self._outlet = asyncio.create_task(self._outlets(lambda event: None))
        if self._outlet is None or self._outlet.done():
            self._let_go(None)
        else:
            _outlets.add(self._outlet)
            self._outlet.add_done_callback(self._let_go)

    def _let_go(self, outlet: asyncio.Task[Any] | None) -> None:
        if outlet is not None:
            _outlets.discard(outlet)
            if not outlet.cancelled() and (error := outlet.exception()) is not None:
                self.record.fail(error)
        self.filters.release()
        if self.functions.listened:
            self.record.news = news.of_chat(self.record, self.context["metadata"], self._said())
        self.record.end()

    def _said(self) -> Any:
        """Returns the content of the first choice, as the outlets left it where they have spoken."""
        outlet = self._outlet
        if outlet is not None and not outlet.cancelled() and outlet.exception() is None:
            return outlet.result()[0].get("content")
        return self.transcript.shown_text()

    # --- the answer ----------------------------------------------------------------------------

    def _changed(self, messages: list[Json] | None) -> bool:
        if messages is None:
            return False
        return any(
            final != self._message(index) for index, final in zip(self.transcript.indexes, messages, strict=True)
        )

    def _completion(self, messages: list[Json] | None) -> Json:
        """Returns the JSON answer; an object that the pipe returned whole keeps all it had."""
        changed = self._changed(messages)
        transcript, reader, head = self.transcript, self.reader, self.head
        whole = reader.whole
        if whole is not None and not isinstance(whole.get("choices"), list) and not changed:
            answer = dict(whole)
        else:
            finals = (
                messages if changed and messages is not None else [transcript.message(i) for i in transcript.indexes]
            )
            answer = {
                **wire.completion(head.id, head.created, head.model, finals[0]),
                **(whole if whole is not None and isinstance(whole.get("choices"), list) else transcript.extras),
            }
            given = (whole or {}).get("choices") or []
            answer["object"] = "chat.completion"
            answer["choices"] = [
                {
                    "logprobs": None if changed else transcript.logprobs.get(index),
                    **(given[n] if n < len(given) and isinstance(given[n], dict) else {}),
                    "index": index,
                    "message": finals[n],
                    "finish_reason": reader.finish_reason(index),
                }
                for n, index in enumerate(transcript.indexes)
            ]
            for choice in answer["choices"]:
                choice.pop("delta", None)
            usage = reader.usage or transcript.usage
            if usage is not None:
                answer["usage"] = usage
            elif "usage" not in answer and self.usage_wanted:
                answer["usage"] = self._estimate()
        events = [e for e in transcript.events if not (changed and e.get("type") in CARRY_TEXT)]
        if events:
            answer["events"] = events
        return answer

    def _ending(self, messages: list[Json] | None, held: list[Piece] | None) -> list[Piece]:
        """Returns the last pieces of a stream: what was held, the usage, and word of a changed answer."""
        changed = self._changed(messages)
        head, pieces = self.head, list[Piece]()
        if held is not None and changed and messages is not None:
            pieces = [p for p in held if isinstance(p, Event) and p.get("type") not in CARRY_TEXT]
            for index, final in zip(self.transcript.indexes, messages, strict=True):
                said = wire.chunk(head.id, head.created, head.model, delta_of(final))
                said["choices"][0]["index"] = index
                pieces.append(said)
            pieces += self.reader.finish(None if self._usage_comes_apart else self.reader.usage)
        elif held is not None:
            pieces = held
        usage = self.reader.usage or self.transcript.usage or (self._estimate() if self.usage_wanted else None)
        if usage is not None and self._usage_comes_apart:
            pieces.append({**wire.chunk(head.id, head.created, head.model, {}), "choices": [], "usage": usage})
        if held is None and changed and messages is not None:
            told = [{"id": self.context["metadata"]["message_id"], **message} for message in messages]
            pieces.append(Event({"type": OUTLET, "data": {"messages": told}}))
        return pieces

    @property
    def _usage_comes_apart(self) -> bool:
        """Whether usage is a chunk of its own, without choices: clients that did not ask look for choices in each."""
        return self.usage_wanted or self.reader.usage_apart or self.reader.usage is None

    def _estimate(self) -> Json:
        text = "".join(wire.text_of(self.transcript.message(i)["content"] or "") for i in self.transcript.indexes)
        return wire.estimated_usage([m for m in self.messages if isinstance(m, dict)], text)
