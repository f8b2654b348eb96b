"""What an import or a sync would do: for each function what, and why. Drawn from data alone; no code is run here.

A plan remembers how every function looked when it was drawn, so that whoever carries it out can tell that somebody
changed one meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.db.models import Max

from functions_app import frontmatter, roles, wire
from functions_app.exchange.entries import Entry, Problem, Read
from functions_app.models import Function, FunctionVersion, Valves
from functions_app.models.function import NAME_LENGTH

Json = dict[str, Any]
Looks = Mapping[str, tuple[Any, ...]]
"""How functions look, by id: what changes whenever something about one does."""

EXISTS = "exists"
"""Why a function is left alone that is not to be overwritten."""
FLAGS = frozenset({"is_active", "is_global"})


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    KEEP = "keep"
    REFUSE = "refuse"


class Taking(StrEnum):
    """Whose valves are taken from entries."""

    ALL = "all"
    NEW = "new"
    """Those of functions that the plan creates: what was set here is never overwritten."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an import or a sync may do.

    ``overwrite`` changes functions that exist, ``delete`` deletes those that no entry names, ``serve`` lets new code
    serve, where else it is stored as a draft.
    """

    overwrite: bool = False
    delete: bool = False
    serve: bool = True
    valves: Taking = Taking.ALL


@dataclass(slots=True)
class Change:
    """What is to happen to one function, with reasons.

    ``function`` is the row as it was, for ``CREATE`` a new one; ``version`` the version that is to serve, None where
    the code stays; ``fields`` what else is to be set on the row; ``manifest`` and ``valves`` are found by ``check``.
    """

    id: str
    action: Action
    entry: Entry | None = None
    function: Function | None = None
    version: FunctionVersion | None = None
    fields: Json = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    manifest: Json | None = None
    stored_valves: Valves | None = None
    valves: Json | None = None

    @property
    def switches(self) -> bool:
        """Whether it makes a function active or global, or ends that."""
        made = self.function if self.action in (Action.CREATE, Action.DELETE) else None
        return bool(made and (made.is_active or made.is_global)) or not FLAGS.isdisjoint(self.fields)

    @property
    def is_tried(self) -> bool:
        """Whether there is something that ``check`` has to try."""
        return self.entry is not None and self.action != Action.REFUSE and EXISTS not in self.reasons

    def because(self, reason: str) -> None:
        """Adds a reason, which makes an update of what was to be kept."""
        self.reasons.append(reason)
        if self.action == Action.KEEP:
            self.action = Action.UPDATE

    def refuse(self, problem: str) -> None:
        self.action, self.problem = Action.REFUSE, problem

    def as_json(self) -> Json:
        """Returns what people and programs are told of it."""
        return {
            "id": self.id,
            "action": self.action.value,
            "version": self.version.number if self.version is not None and self.action != Action.REFUSE else None,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "error": self.problem or None,
        }


@dataclass(slots=True)
class Plan:
    """Changes in the order of their entries, deletions last."""

    terms: Terms
    changes: list[Change]
    looks: Looks

    @property
    def problems(self) -> list[str]:
        return [change.problem for change in self.changes if change.action == Action.REFUSE]

    @property
    def effective(self) -> list[Change]:
        """The changes that write something."""
        return [change for change in self.changes if change.action not in (Action.KEEP, Action.REFUSE)]

    def count(self, action: Action) -> int:
        return sum(change.action == action for change in self.changes)

    def needs(self) -> list[str]:
        """Returns the permissions that somebody needs for all of it (constants of ``roles``)."""
        configures = any(self._wants_valves(change) for change in self.changes)
        needed: dict[str, bool] = {
            roles.AUTHOR: True,
            # Valves are for code that serves.
            roles.ACTIVATE: any(change.switches for change in self.changes) or (configures and not self.terms.serve),
            roles.CONFIGURE: configures,
            roles.SET_POLICY: any("policy" in change.fields for change in self.changes),
        }
        return [permission for permission, is_needed in needed.items() if is_needed]

    def _wants_valves(self, change: Change) -> bool:
        return valves_of(change, self.terms) is not None and change.action != Action.REFUSE


def valves_of(change: Change, terms: Terms) -> Json | None:
    """Returns the valves that an entry asks for and the terms take; None leaves what is stored."""
    entry = change.entry
    taken = terms.valves == Taking.ALL or (terms.valves == Taking.NEW and change.action == Action.CREATE)
    if entry is None or not taken or EXISTS in change.reasons:
        return None
    if entry.resets_valves:
        return {} if change.stored_valves is not None else None
    return entry.valves or (entry.valves if change.stored_valves is not None else None)


def look() -> Looks:
    """Returns how all functions look now."""
    rows = Function.objects.order_by("pk").annotate(newest_number=Max("versions__number"))
    return {
        row[0]: row[1:]
        for row in rows.values_list("pk", "live_id", "updated_at", "newest_number", "valves__pk", "valves__changed_at")
    }


def draw(read: Read, terms: Terms) -> Plan:
    """Returns the plan for what was read. Problems become refusals; nothing is stored."""
    looks = look()
    wanted = [one.id for one in read if isinstance(one, Entry)]
    found = Function.objects.select_related("live").in_bulk(wanted)
    valves = {row.function_id: row for row in Valves.objects.filter(function__in=wanted)}
    changes: list[Change] = []
    for one in read:
        if isinstance(one, Problem):
            changes.append(Change(one.id or one.where, Action.REFUSE, problem=str(one)))
        elif (function := found.get(one.id)) is None:
            changes.append(_creation(one))
        elif terms.overwrite:
            changes.append(_update(one, function, valves.get(one.id), terms))
        else:
            changes.append(Change(one.id, Action.KEEP, one, function, reasons=[EXISTS]))
    if terms.delete:
        named = {change.id for change in changes}
        gone = Function.objects.exclude(pk__in=named).order_by("pk")
        changes += [Change(row.pk, Action.DELETE, function=row, reasons=["missing"]) for row in gone]
    return Plan(terms, changes, looks)


def _creation(entry: Entry) -> Change:
    title = frontmatter.read(entry.source).get("title", "").strip()[:NAME_LENGTH]
    function = Function(
        id=entry.id,
        name=entry.name or title or entry.id,
        meta=_own(entry.meta, entry.source),
        policy=entry.policy or {},
        is_active=bool(entry.is_active),
        is_global=bool(entry.is_global),
    )
    if entry.created_at is not None:
        function.created_at = entry.created_at
    version = FunctionVersion(function=function, number=1, source=entry.source)
    fields = {"policy": entry.policy} if entry.policy else {}
    return Change(entry.id, Action.CREATE, entry, function, version, fields, ["new"], [*entry.notes])


def _update(entry: Entry, function: Function, valves: Valves | None, terms: Terms) -> Change:
    change = Change(entry.id, Action.KEEP, entry, function, notes=[*entry.notes], stored_valves=valves)
    if (version := _version(entry, function, terms)) is not None:
        change.version = version
        change.because(f"code (version {version.number})")
    wanted: Json = {"name": entry.name or function.name}
    if entry.meta is not None and _own(function.meta, entry.source) != _own(entry.meta, entry.source):
        wanted["meta"] = _own(entry.meta, entry.source)
    said = {"is_active": entry.is_active, "is_global": entry.is_global, "policy": entry.policy}
    wanted |= {name: value for name, value in said.items() if value is not None}
    if entry.created_at is not None and wire.epoch(entry.created_at) != wire.epoch(function.created_at):
        wanted["created_at"] = entry.created_at
    for name, value in wanted.items():
        if getattr(function, name) != value:
            change.fields[name] = value
            change.because(name)
    return change


def _version(entry: Entry, function: Function, terms: Terms) -> FunctionVersion | None:
    """Returns the version that has an entry's code, a new one where none does; None when it serves already."""
    if function.live is not None and function.live.source == entry.source:
        return None
    newest = function.newest
    if newest is not None and newest.source == entry.source:
        newest.function = function
        return newest if terms.serve else None
    number = newest.number + 1 if newest is not None else 1
    return FunctionVersion(function=function, number=number, source=entry.source)


def _own(meta: Any, source: str) -> Json:
    """Returns what is kept of a ``meta``: a description that the code itself gives is no fact of its own."""
    own = wire.own_meta(meta if isinstance(meta, dict) else {})
    if own.get("description") in (None, frontmatter.read(source).get("description")):
        own.pop("description", None)
    return own
