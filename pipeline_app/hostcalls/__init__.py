"""What a function may ask of the server while it runs, beyond events: one module per table.

A call is answered within the rights of the person behind the request and within the grants of the function's
policy, whichever is less. The identity is the server's knowledge of the call, never a field of the message.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any

from pipeline_app.completions import Completions
from pipeline_app.errors import RequestError
from pipeline_app.hostcalls import completions, files, functions, memories, models, users
from pipeline_app.hostcalls.declared import Asked, Gate, HostCall, checked
from pipeline_app.runners.base import Identity
from pipeline_app.snapshot import Person

__all__ = ["METHODS", "Asked", "HostCall", "HostCalls"]

FUNCTION_AT_ONCE = 4
"""How many answers of one function may be looked up in the database at the same time."""
AT_ONCE = 16

METHODS: Mapping[str, HostCall] = MappingProxyType(
    {**users.METHODS, **models.METHODS, **completions.METHODS, **files.METHODS, **functions.METHODS, **memories.METHODS}
)
"""What can be asked, by the name it is asked by."""


class HostCalls:
    """Answers host calls (``runners.requests``)."""

    def __init__(self, models: Completions | None = None) -> None:
        self._models = models
        self._gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Gates] = weakref.WeakKeyDictionary()

    async def call(self, identity: Identity, method: Any, params: Any) -> Any:
        """Returns JSON data, or an async iterator of it. Raises ``RequestError`` with a sentence for the author."""
        found = METHODS.get(method) if isinstance(method, str) else None
        if found is None:
            raise RequestError(f"There is no host call {str(method)[:100]!r}; there are {', '.join(METHODS)}.")
        if found.grant not in identity.policy.grants:
            raise RequestError(
                f"This function may not ask for {method}: its policy does not have the grant '{found.grant}'."
            )
        person = identity.caller
        if not isinstance(person, Person):
            raise RequestError(f"Nobody is behind this call of the function, so {method} has nobody's rights.")
        if found.scope is not None and not person.may(found.scope):
            raise RequestError(f"{method} is refused: the caller's key does not have the scope '{found.scope}'.")
        given = checked(method, found.parameters, params)
        gate = self._gate(identity.function_id)
        answer = found.answer(Asked(person, identity, gate, self._models), **given)
        return answer if isinstance(answer, AsyncIterator) else await answer

    def _gate(self, function_id: str) -> Gate:
        loop = asyncio.get_running_loop()
        if loop not in self._gates:
            self._gates[loop] = _Gates()
        return self._gates[loop].of(function_id)


class _Gates:
    def __init__(self) -> None:
        self._all = asyncio.Semaphore(AT_ONCE)
        self._own: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()

    def of(self, function_id: str) -> Gate:
        own = self._own.get(function_id)
        if own is None:
            own = self._own[function_id] = asyncio.Semaphore(FUNCTION_AT_ONCE)

        @asynccontextmanager
        async def gate() -> AsyncIterator[None]:
            async with AsyncExitStack() as entered:
                await entered.enter_async_context(own)
                await entered.enter_async_context(self._all)
                yield

        return gate
