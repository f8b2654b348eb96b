"""What every request needs to know, held in memory while its generation holds.

Two halves: *functions* (active functions, valves, models) is read as a whole, where a re-read takes
only rows that changed; *people* (keys, users, groups, user valves) one by one on first use. Every
request compares both tokens first, so none that starts after a save was answered sees old code,
valves or keys, in any process.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from functions_app import generation
from functions_app.models import FilterSwitches, Function, Model, User, UserValves
from functions_app.policy import Policy
from functions_app.valves import Rules
from pipeline_app.codes import read_active
from pipeline_app.configured import Row, opened, read_all, ruled
from pipeline_app.database import in_database
from pipeline_app.errors import FunctionUnavailable
from pipeline_app.models import ApiKey
from pipeline_app.runners.base import Code

logger = logging.getLogger(__name__)

PEOPLE_KEPT = 10_000
STRANGERS_KEPT = 1_000
NOTHING_SET = Row("", {}, "", {}, {})


@dataclass(frozen=True, slots=True)
class Entry:
    """An active function: its live code, what inspection found, and the valves that were set."""

    id: str
    name: str
    kind: str
    code: Code
    is_global: bool
    created: int
    description: str
    valves: dict[str, Any] = field(repr=False)
    """What an admin set, within the rules, with what the rules fix."""
    valves_error: str = ""
    user_rules: Rules = field(default_factory=dict, repr=False)
    serves: bool = True
    """Whether it is active; others are only made one by one (``dispatch``)."""

    @property
    def manifest(self) -> dict[str, Any]:
        return self.code.manifest

    @property
    def policy(self) -> Policy:
        return self.code.policy

    @property
    def toggle(self) -> bool:
        return bool(self.manifest.get("toggle"))

    @property
    def order(self) -> tuple[float, str]:
        """The place in a chain: by priority valve, then id."""
        priority = self.valves.get("priority", self.manifest.get("priority", 0))
        return (priority if isinstance(priority, int | float) else 0, self.id)

    def has(self, hook: str) -> bool:
        return hook in self.manifest["hooks"]

    def set_valves(self, hook: str) -> dict[str, Any]:
        """Returns the values an admin set.

        Raises ``FunctionUnavailable`` when they can't be decrypted, or when a rule allows none that there is.
        """
        if self.valves_error:
            raise FunctionUnavailable(self.id, hook, self.valves_error)
        return self.valves


@dataclass(frozen=True, slots=True)
class Preset:
    """A ``Model`` row: a named preset, or settings for the pipe of the same id when it has no base."""

    id: str
    name: str
    base: str
    system: str
    params: dict[str, Any]
    filters: tuple[str, ...]
    actions: tuple[str, ...]
    default_filters: frozenset[str]
    groups: frozenset[int]
    is_active: bool
    created: int
    meta: dict[str, Any]

    def open_to(self, person: Person) -> bool:
        """Whether a person may use it: everybody, unless it names groups; admins always."""
        return not self.groups or person.is_admin or bool(self.groups & person.groups)


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions half under one token."""

    token: bytes
    entries: dict[str, Entry]
    presets: dict[str, Preset]
    filters: tuple[Entry, ...]
    """All active filters in the order they run."""
    epoch: str = ""
    listened: bool = False
    """Whether an Event function is active."""

    def active(self, function_id: str, kind: str) -> Entry | None:
        entry = self.entries.get(function_id)
        return entry if entry is not None and entry.kind == kind else None


@dataclass(frozen=True, slots=True)
class Person:
    """Who calls: a user and the key they came with."""

    id: str
    is_admin: bool
    user: dict[str, Any] = field(repr=False)
    groups: frozenset[int]
    key_id: Any
    scopes: frozenset[str]
    expires_at: datetime | None
    user_valves: dict[str, dict[str, Any]] = field(repr=False)
    user_valves_errors: dict[str, str] = field(repr=False)
    default_filters: dict[str, Any] = field(default_factory=dict)
    permissions: frozenset[str] = field(default_factory=frozenset, repr=False)
    """Django's permissions, as ``app.codename``; left empty for admins, who have all."""
    ruled: dict[str, tuple[Entry, dict[str, Any], str]] = field(default_factory=dict, repr=False)
    """User valves within an admin's rules as they were found for an entry, and why there are none."""

    # What DRF's classes ask of request.user.
    is_authenticated = True
    is_anonymous = False

    @property
    def pk(self) -> str:
        return self.id

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def may(self, scope: str) -> bool:
        return not self.scopes or scope in self.scopes

    def can(self, permission: str) -> bool:
        """Whether this person holds one of Django's permissions."""
        return self.is_admin or permission in self.permissions

    def valves_of(self, entry: Entry, hook: str) -> dict[str, Any] | None:
        """Returns what this user set for a function; None when it has no user valves.

        What an admin's rules do not allow is as if it were not set, and what they fix is there. Raises
        ``FunctionUnavailable`` when they can't be decrypted, or when a rule allows none that there is.
        """
        if entry.manifest.get("user_valves") is None:
            return None
        if entry.id in self.user_valves_errors:
            raise FunctionUnavailable(entry.id, hook, self.user_valves_errors[entry.id])
        if not entry.user_rules:
            return self.user_valves.get(entry.id, {})
        found = self.ruled.get(entry.id)
        if found is None or found[0] is not entry:
            values = self.user_valves.get(entry.id, {})
            found = self.ruled[entry.id] = (entry, *ruled(entry.manifest["user_valves"], values, entry.user_rules))
        if found[2]:
            raise FunctionUnavailable(entry.id, hook, found[2])
        return found[1]


class Snapshot:
    """Both halves of this process. Coroutines only; all of them may be called from any event loop."""

    def __init__(self) -> None:
        self._functions = Functions(b"", {}, {}, ())
        self._loaded = False
        self._valves: dict[str, Row] = {}
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._strangers: OrderedDict[str, None] = OrderedDict()
        self._people_token: bytes | None = None
        self._stored: generation.Tokens = (b"", b"")
        self._healed: dict[str, bytes] = {}
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()
        self.publication_error = ""

    # --- generations ---------------------------------------------------------------------------

    async def _tokens(self) -> generation.Tokens:
        if self.publication_error:
            return self._stored  # the watcher tries again once a second
        try:
            return await generation.publication().current()
        except ConnectionError as error:
            logger.error("Generations can't be read (%s); comparing with the database once a second instead", error)
            self.publication_error = str(error)
            await self._compare_with_database()
            return self._stored

    async def _compare_with_database(self) -> None:
        self._stored = await in_database(generation.stored)

    async def watch(self) -> None:
        """Compares what is published with what the database holds, once a second, until cancelled.

        Heals a crash between commit and publication, and carries on while Redis is down.
        """
        while True:
            await asyncio.sleep(1)
            try:
                await self._compare_with_database()
                await self._heal()
            except Exception:  # the watcher outlives whatever the database or Redis does
                logger.exception("Comparing generations with the database failed; trying again in a second")

    async def _heal(self) -> None:
        publication = generation.publication()
        if isinstance(publication, generation.FilePublication):
            publication.reopen_if_replaced()
        try:
            published = await publication.current()
        except ConnectionError as error:
            self.publication_error = str(error)
            return
        if self.publication_error:
            logger.warning("Generations can be read again")
            self.publication_error = ""
        for half, stored, seen in zip(generation.HALVES, self._stored, published, strict=True):
            if stored and stored != seen and self._healed.get(half) != stored:
                # A new token, never the stored one: a change may have published a newer one since the database was
                # read, and putting an older one over it would pass what is held under that for current.
                await asyncio.to_thread(publication.publish, half, generation.new_token())
                self._healed[half] = stored

    def _lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if loop not in self._locks:
            self._locks[loop] = asyncio.Lock()
        return self._locks[loop]

    # --- functions -----------------------------------------------------------------------------

    async def functions(self) -> Functions:
        """Returns the functions half as it is now."""
        if (await self._tokens())[0] == self._functions.token and self._loaded:
            return self._functions
        async with self._lock():
            # Read before the data: what is found afterwards is at least as new as this token.
            token = (await self._tokens())[0]
            if token != self._functions.token or not self._loaded:
                self._functions = await in_database(self._read_functions, token, self._functions)
                self._loaded = True
            return self._functions

    def _read_functions(self, token: bytes, old: Functions) -> Functions:
        epoch = generation.epoch()
        if epoch != old.epoch:
            old, self._valves = Functions(b"", {}, {}, ()), {}
        held = {function_id: entry.code for function_id, entry in old.entries.items()}
        codes = list(read_active(held, epoch))
        self._valves = read_all(self._valves)
        entries: dict[str, Entry] = {}
        for row, code in codes:
            _, values, error, rules, user_rules = self._valves.get(row.id, NOTHING_SET)
            if rules and not error:
                values, error = ruled(code.manifest.get("valves"), values, rules)
            entries[row.id] = Entry(
                id=row.id,
                name=row.name,
                kind=row.kind,
                code=code,
                is_global=row.is_global,
                created=int(row.created_at.timestamp()),
                description=str((row.meta or {}).get("description") or ""),
                valves=values,
                valves_error=error,
                user_rules=user_rules,
            )
        filters = sorted((e for e in entries.values() if e.kind == Function.Kind.FILTER), key=lambda e: e.order)
        listened = any(entry.kind == Function.Kind.EVENT for entry in entries.values())
        return Functions(token, entries, self._read_presets(), tuple(filters), epoch, listened)

    @staticmethod
    def _read_presets() -> dict[str, Preset]:
        rows = Model.objects.prefetch_related("filters", "actions", "default_filters", "groups")
        return {
            row.pk: Preset(
                id=row.pk,
                name=row.name,
                base=row.base_model_id,
                system=row.system_prompt,
                params=row.params,
                filters=tuple(f.pk for f in row.filters.all()),
                actions=tuple(a.pk for a in row.actions.all()),
                default_filters=frozenset(f.pk for f in row.default_filters.all()),
                groups=frozenset(g.pk for g in row.groups.all()),
                is_active=row.is_active,
                created=int(row.created_at.timestamp()),
                meta=row.meta,
            )
            for row in rows
        }

    # --- people --------------------------------------------------------------------------------

    async def person(self, key: str) -> Person | None:
        """Returns who holds a key; None when it is unknown, revoked, or its owner may not sign in.

        Expiry is for the caller to check.
        """
        token = (await self._tokens())[1]
        if token != self._people_token:
            self._people.clear()
            self._strangers.clear()
            self._people_token = token
        digest = ApiKey.digest_of(key)
        person = self._people.get(digest)
        if person is not None:
            self._people.move_to_end(digest)
            return person
        if digest in self._strangers:
            return None
        person = await in_database(self._read_person, digest)
        if token == self._people_token:  # else somebody else has begun a newer memory
            kept: OrderedDict[str, Any] = self._strangers if person is None else self._people
            kept[digest] = person
            if len(kept) > (STRANGERS_KEPT if person is None else PEOPLE_KEPT):
                kept.popitem(last=False)
        return person

    @staticmethod
    def _read_person(digest: str) -> Person | None:
        key = ApiKey.objects.select_related("user").filter(digest=digest, revoked_at=None).first()
        if key is None or not key.user.is_active:
            return None
        return person_of(key.user, key)


def person_of(user: User, key: ApiKey | None = None) -> Person:
    """Returns a user as requests know them; without a key, with all rights of their own."""
    values: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    for function_id, sealed in UserValves.objects.filter(user=user).values_list("function_id", "values"):
        values[function_id], error = opened(sealed)
        if error:
            errors[function_id] = error
    return Person(
        id=str(user.pk),
        is_admin=user.role == "admin",
        user=user.to_wire(),
        groups=frozenset(user.groups.values_list("pk", flat=True)),
        key_id=key.pk if key else None,
        scopes=frozenset(key.scopes if key else ()),
        expires_at=key.expires_at if key else None,
        user_valves=values,
        user_valves_errors=errors,
        default_filters=FilterSwitches.objects.of(user),
        permissions=frozenset() if user.is_superuser else frozenset(user.get_all_permissions()),
    )


snapshot = Snapshot()
