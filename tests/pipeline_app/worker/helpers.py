"""What the tests of the worker share: source text to a loaded function, and one call from start to end."""

from __future__ import annotations

import asyncio
import hashlib
import textwrap
from pathlib import Path

from pipeline_app.worker.calls import Call
from pipeline_app.worker.loader import load

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
USER = {
    "id": "u1",
    "email": "ann@example.org",
    "name": "Ann",
    "role": "user",
    "last_active_at": 1,
    "updated_at": 1,
    "created_at": 1,
}
"""Whom hooks are called for, as ``__user__`` has them."""


def loaded(source, function_id="sample", number=1):
    text = textwrap.dedent(source).lstrip("\n")
    return load(function_id, number, hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(), text)


def sample(name):
    return loaded((FUNCTIONS / f"{name}.py").read_text(), name)


def value(function, hook, payload, context=None, **given):
    """Returns what one hook answers."""

    async def story():
        return await Call(function, hook, payload, context, **given).value()

    return asyncio.run(story())


def items(function, body=None, context=None, **given):
    """Returns everything a pipe says, as one list."""

    async def story():
        said = []
        async for batch in Call(function, "pipe", {} if body is None else body, context, **given).items():
            assert batch
            said += batch
        return said

    return asyncio.run(story())


def joined(said):
    """Returns items with neighbouring texts put together, as a client sees them."""
    out = []
    for item in said:
        if isinstance(item, str) and out and isinstance(out[-1], str):
            out[-1] += item
        else:
            out.append(item)
    return out
