"""The same for code that awaits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .factory import VECTOR_DB_CLIENT


class _Awaited:
    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(VECTOR_DB_CLIENT, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return call


ASYNC_VECTOR_DB_CLIENT = _Awaited()
