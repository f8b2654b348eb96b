"""The token that says "something changed", shared by every process of the installation.

There are two halves, *functions* (code, valves, models) and *people* (users, groups, keys, user
valves). A half's generation is a random 16-byte token, replaced by every change that matters and
never counted up: two increments race, and a restarted count repeats. The token is written in the
database in the change's own transaction and, after commit, published where every process reads it
at next to no cost: in a file in ``DATA_DIR``, or in Redis when ``CACHE_URL`` names one.

Whoever holds data read it *after* reading the token, so data under the current token is current.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import stat
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.db import transaction

logger = logging.getLogger(__name__)

FUNCTIONS = "functions"
PEOPLE = "people"
HALVES = (FUNCTIONS, PEOPLE)
EPOCH = "epoch"
TOKEN_BYTES = 16

Tokens = tuple[bytes, bytes]
"""The tokens of both halves, in the order of ``HALVES``."""


class Publication(Protocol):
    """Where tokens are published for every process to read."""

    def publish(self, half: str, token: bytes) -> None:
        """Makes a token visible to every process. Never raises: the database holds the truth."""

    async def current(self) -> Tokens:
        """Returns tokens read after this call began. Raises ``ConnectionError`` when they can't be read."""

    async def close(self) -> None:
        """Lets go of connections."""


class FilePublication:
    """Tokens in a file, read with ``os.pread`` (no memory map: truncating one kills its readers)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = self._open()

    def _open(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(descriptor).st_size < TOKEN_BYTES * len(HALVES):
            os.pwrite(descriptor, secrets.token_bytes(TOKEN_BYTES * len(HALVES)), 0)
        return descriptor

    def publish(self, half: str, token: bytes) -> None:
        try:
            self.reopen_if_replaced()
            os.pwrite(self._descriptor, token, TOKEN_BYTES * HALVES.index(half))
        except OSError:
            logger.exception(
                "The generation file %s cannot be written; other processes notice within a second", self.path
            )

    def read(self) -> Tokens:
        data = os.pread(self._descriptor, TOKEN_BYTES * len(HALVES), 0)
        return data[:TOKEN_BYTES], data[TOKEN_BYTES:]

    async def current(self) -> Tokens:
        return self.read()

    def reopen_if_replaced(self) -> None:
        """Follows the path when somebody deleted or replaced the file; called once a second and before each write."""
        ours = os.fstat(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            theirs = os.stat(self.path)
            if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) and stat.S_ISREG(theirs.st_mode):
                return
        old, self._descriptor = self._descriptor, self._open()
        os.close(old)

    async def close(self) -> None:
        return None


class RedisPublication:
    """Tokens in Redis, for several nodes. A read is shared only by requests that arrived before it began."""

    KEY = "webui-functions:generation:"

    def __init__(self, url: str) -> None:
        self.url = url
        self._async: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[Tokens] | None = None
        self._next: asyncio.Future[Tokens] | None = None

    def publish(self, half: str, token: bytes) -> None:
        import redis

        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                client.set(self.KEY + half, token)
        except redis.RedisError:
            logger.exception("Redis cannot be told of a change; other processes notice within a second")

    async def current(self) -> Tokens:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            await self.close()
            self._loop, self._running, self._next = loop, None, None
        if self._running is None:
            return await self._start()
        # A read is under way that began before this request arrived: share the one after it.
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[Tokens]) -> Tokens:
        await asyncio.wait([running])
        self._next = None
        return await self._start()

    async def _start(self) -> Tokens:
        task = asyncio.ensure_future(self._read())
        self._running = task
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Tokens]) -> None:
        if self._running is task:
            self._running = None
        if not task.cancelled():
            task.exception()

    async def _read(self) -> Tokens:
        import redis.asyncio

        if self._async is None:
            self._async = redis.asyncio.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            functions, people = await self._async.mget([self.KEY + half for half in HALVES])
        except (TimeoutError, redis.RedisError, OSError) as error:
            raise ConnectionError(f"Redis does not answer: {error}") from error
        return functions or b"", people or b""

    async def close(self) -> None:
        client, self._async = self._async, None
        if client is not None:
            with contextlib.suppress(Exception):  # a connection of a loop that has ended can only be dropped
                await client.aclose()


@lru_cache(maxsize=1)
def publication() -> FilePublication | RedisPublication:
    """Returns where this installation publishes its generations."""
    if settings.CACHE_URL.startswith(("redis://", "rediss://", "unix://")):
        return RedisPublication(settings.CACHE_URL)
    return FilePublication(settings.DATA_DIR / "generation")


def new_token() -> bytes:
    """Returns a token that nobody has seen."""
    return secrets.token_bytes(TOKEN_BYTES)


def _store(name: str, token: bytes, using: str | None) -> None:
    from functions_app.models import Generation

    rows = Generation._base_manager.using(using)
    if not rows.filter(name=name).update(token=token.hex()):
        rows.update_or_create(name=name, defaults={"token": token.hex()})


def start_afresh() -> None:
    """Makes every process drop what it has loaded and read, although nothing changed."""
    with transaction.atomic():
        _store(EPOCH, new_token(), None)
        for half in HALVES:
            changed(half)


def epoch() -> str:
    """Returns the name of the time since ``start_afresh``: what was loaded in an earlier one is not used any more."""
    from functions_app.models import Generation

    return Generation._base_manager.filter(name=EPOCH).values_list("token", flat=True).first() or ""


def changed(half: str, using: str | None = None) -> None:
    """Replaces the token of a half: in the database now, for every process after commit.

    Call it inside the transaction of the change it tells of; outside of one the change is on
    its own and so is the token.
    """
    token = new_token()
    _store(half, token, using)
    transaction.on_commit(partial(publication().publish, half, token), using=using, robust=True)


def stored() -> Tokens:
    """Returns the tokens that the database holds; a half that never changed has an empty one."""
    from functions_app.models import Generation

    found = dict(Generation._base_manager.values_list("name", "token"))
    return bytes.fromhex(found.get(FUNCTIONS, "")), bytes.fromhex(found.get(PEOPLE, ""))
