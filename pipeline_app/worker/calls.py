"""One call of a hook: sync or async, a value or a stream of items, with everything it is given and leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from . import valves as valve_models
from .answers import Event
from .channel import Channel
from .emitter import Caller, Emitter, make_caller, make_emitter
from .errors import HookError
from .hooks import BODY_HOOKS, Options, Single, Stream
from .hosts import Host
from .jsonable import copy, jsonable, name_of
from .loader import Loaded
from .pipes import Pipe
from .plans import Plan
from .profile import Profile
from .running import Running, Stage
from .tracebacks import text_of
from .work import Work

MEGABYTE = 1024 * 1024


class Call(Work):
    """A call of one hook of a loaded function, used once: either ``value()`` or ``items()``.

    ``payload`` goes to the author as it is; whoever keeps it gives a copy. ``context`` is what the server
    says about the request, copied before an author sees it. ``emit`` gets the events of a value hook, in
    order, on the loop; a pipe's are among its items. ``ask`` puts a question to the client, ``host`` any other to the
    server. No text that a hook answers may be longer than ``output_limit`` characters. ``congested`` says whether
    ``emit`` has taken so much that the author should wait.
    """

    def __init__(
        self,
        loaded: Loaded,
        hook: str,
        payload: Any,
        context: dict[str, Any] | None = None,
        valves: dict[str, Any] | None = None,
        user_valves: dict[str, Any] | None = None,
        *,
        emit: Callable[[Event], object] | None = None,
        ask: Callable[[Event], Awaitable[Any]] | None = None,
        host: Host | None = None,
        congested: Callable[[], bool] | None = None,
        output_limit: int = 16 * MEGABYTE,
    ) -> None:
        super().__init__(host)
        self.loaded = loaded
        self.hook = hook
        self.payload = payload
        self.context: dict[str, Any] = context if context is not None else {}
        self.metadata: dict[str, Any] | None = None
        """After the call: the metadata as the hook left it, None when it left it as it was, or did not see it."""
        self.output_limit = output_limit
        self.channel: Channel | None = None
        self.progress: dict[str, Any] = {}
        """What a failure says besides itself: how far a batch had come."""
        self._valves = valves
        self._user_valves = user_valves
        self._emit = emit
        self._ask = ask
        self._congested = congested
        if self.context.get("profile") is True:
            self.profile = Profile(loaded.filename)
        self._user: dict[str, Any] | None = None
        self._shared: dict[str, Any] | None = None
        self._kept = False
        self._started = False

    # For the caller

    async def value(self) -> Any:
        """Returns the hook's answer in JSON types; for an action possibly an ``answers.Whole``.

        ``inlet``, ``request`` and ``outlet`` that return nothing leave the body as it is, with what they changed
        in it. ``stream`` takes a list of events and returns a list of answers, None for each one dropped. A hook
        that is not there answers its payload (``pipes`` and ``event``: None). Raises ``HookError``; when the
        caller is cancelled, the author's code is stopped first.
        """
        if not self._started:
            self.start()
        self._started = False  # a second time is refused
        running = self._running
        if running is None:
            return self._without_hook()
        try:
            await running.waiter()
        finally:
            if not running.ended:
                await running.stop()
        if self._error is not None:
            raise self._error
        return self.result

    def start(self) -> None:
        """Begins what ``value`` waits for, where that is to come a turn of the loop earlier."""
        plan = self.loaded.plans.get(self.hook)
        if self.hook == "options":
            self._start(Options(self).stage())
        elif plan is not None:
            self._start(Stream(self, plan).stage() if self.hook == "stream" else Single(self, plan).stage())
        self._started = True

    async def items(self) -> AsyncGenerator[list[Any], None]:
        """Yields what a pipe says as lists of items (see ``answers.py``), everything that is ready at once.

        Raises ``HookError`` after the items that came before the failure. Closing it stops the pipe.
        """
        plan = self.loaded.plans.get(self.hook)
        if plan is None:
            raise HookError.saying("AttributeError", f"{self.loaded.function_id} has no {self.hook} method.")
        channel = self.channel = Channel(asyncio.get_running_loop())
        running = self._start(Pipe(self, plan, channel).stage())
        try:
            while batch := await channel.take():
                yield batch
            if self._error is not None:
                raise self._error
        finally:
            if not running.ended:
                channel.close()
                await running.stop()

    # For hooks.py and pipes.py, inside the call's context

    def arguments(self, plan: Plan) -> dict[str, Any]:
        """Gives the instance its valves and returns the special arguments that the hook asks for."""
        loaded = self.loaded
        if loaded.has_valves:
            made = valve_models.build(loaded, self._valves)
            self._scope.valves = made
            if loaded.valves_are_per_call:
                loaded.instance.__dict__["valves"] = made
            else:
                loaded.instance.valves = made
        return {name: make(self) for name, make in plan.makers}

    def checked(self, answer: Any, weight: int, what: str) -> None:
        """Raises ``HookError`` when an answer is too large."""
        if weight > self.output_limit:
            limit = f"{self.output_limit / MEGABYTE:g} MB"
            raise HookError.saying(
                "OutputLimit", f"{self.loaded.function_id} {what} more than the limit of {limit} (output_mb)."
            )

    def send(self, event: Event) -> None:
        """Takes an event that the author emitted, on any thread: in its place among items, else to ``emit``."""
        running = self._running
        if self.channel is not None and not self.channel.finished:
            self.channel.put(event, 64)
        elif self._emit is not None and running is not None:
            if running.on_loop():
                self._emit(event)
            else:
                running.port.post(self._emit, event)

    def be_gentle(self) -> None:
        """Says that a generator is being pumped: when stopped, it gets a moment to be closed between two items."""
        if self._running is not None:
            self._running.gentle = True

    # For arguments.py and emitter.py

    @property
    def crowded(self) -> bool:
        """Whether so much of what the author sends is outstanding that he should wait."""
        return (self.channel is not None and self.channel.full) or (self._congested is not None and self._congested())

    def user(self) -> dict[str, Any] | None:
        """Returns the caller as this call's own dict, with user valves if the function has them."""
        user = self.context.get("user")
        if self._user is None and (user is not None or self.hook != "pipes"):
            made: dict[str, Any] = copy(user) if user else {}
            if self.loaded.has_user_valves:
                found = valve_models.build_user(self.loaded, self._user_valves)
                if found is not None:
                    made["valves"] = found
            self._user = made
        return self._user

    def shared_metadata(self) -> dict[str, Any]:
        """Returns the one metadata dict of this call: the body's own where it has one."""
        if self._shared is None:
            body = self.payload
            found = body.get("metadata") if self.hook in BODY_HOOKS and isinstance(body, dict) else None
            self._shared = found if isinstance(found, dict) else copy(self.context.get("metadata") or {})
        return self._shared

    def keep_metadata(self) -> None:
        """Takes the metadata as the hook left it; nearly every one leaves it as it was, and then it need not travel."""
        self._kept = True
        if not self._is_as_given(self._shared):
            try:
                self.metadata = jsonable(self._shared)
            except Exception as exc:
                raise HookError.saying(name_of(exc), f"The metadata cannot be kept: {text_of(exc)}") from exc

    def _is_as_given(self, metadata: dict[str, Any] | None) -> bool:
        try:
            return bool(metadata == self.context.get("metadata"))
        except Exception:  # what the author put in has its own idea of being equal
            return False

    def emitter(self) -> Emitter:
        """Returns the call's event emitter."""
        return make_emitter(self)

    def caller(self) -> Caller:
        """Returns the function that asks the client."""
        return make_caller(self, self._ask)

    # Its own

    def _start(self, stage: Stage) -> Running:
        return self._begin(self.loaded.threads, self.loaded.instance, stage)

    def _interrupt(self, running: Running, message: str, kind: str) -> None:
        if self.channel is not None and not running.ended:
            self.channel.close()
            self.channel.finish()
        super()._interrupt(running, message, kind)

    def _on_end(self, error: HookError | None) -> None:
        super()._on_end(error)
        if self._shared is not None and self.metadata is None and not self._kept:
            try:
                self.keep_metadata()
            except BaseException as exc:  # whatever the author put in; who waits for the end must be told of it
                self._error = self._error or (
                    exc if isinstance(exc, HookError) else HookError.saying(name_of(exc), text_of(exc))
                )
        if self.channel is not None:
            self.channel.finish()

    def _failure(self, exc: BaseException) -> HookError:
        failure = super()._failure(exc)
        try:
            status = getattr(exc, "status_code", None)
            if isinstance(status, int) and hasattr(exc, "detail"):
                failure.data |= {"status": int(status), "detail": jsonable(exc.detail)}
        except Exception:
            pass  # an exception whose attributes cannot be read is an ordinary one
        failure.data.update(self.progress)
        return failure

    def _described(self, exc: BaseException) -> dict[str, Any]:
        return self.loaded.failure(exc)

    def _without_hook(self) -> Any:
        if self.hook == "pipes":
            listed = getattr(self.loaded.instance, "pipes", None)
            return None if listed is None else jsonable(listed)
        return None if self.hook == "event" else self.payload
