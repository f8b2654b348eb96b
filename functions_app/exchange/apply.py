"""Carries a plan out: all of it in one transaction, so that whatever ends the process leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from functions_app import generation
from functions_app.exchange.plan import Action, Change, Plan, look
from functions_app.models import Function, User, Valves


class Overtaken(Exception):
    """Somebody changed a function after the plan was drawn; nothing was written."""


def apply(plan: Plan, by: User | None, tell: Callable[[str], None] = lambda id: None) -> None:
    """Writes what the plan says, as ``by``; refusals are passed over. Raises ``Overtaken``.

    ``tell`` is called with the id of each function that has been written, before the transaction ends.
    """
    changes = plan.effective
    if not changes:
        return
    try:
        with transaction.atomic():
            locked = _locked(plan, changes)
            # Deletions first: the others are then written at an even pace.
            for change in sorted(changes, key=lambda change: change.action != Action.DELETE):
                _write(change, locked.get(change.id), plan, by)
                tell(change.id)
    except IntegrityError as error:
        made = [change.id for change in changes if change.action == Action.CREATE]
        raise Overtaken(", ".join(made) or "in a way that the database refuses") from error


def _locked(plan: Plan, changes: list[Change]) -> dict[str, Function]:
    """Holds the rows that change until the transaction ends, and makes sure that they are as the plan saw them."""
    rows = Function.objects.select_for_update(of=("self",)).order_by("pk")
    if not plan.terms.delete:
        rows = rows.filter(pk__in=[change.id for change in changes])
    locked = {row.pk: row for row in rows}
    # Every other change of functions writes this row before it commits: from here on none can, and what has
    # committed is seen by the next query.
    generation.changed(generation.FUNCTIONS)
    now = look()
    ids = {change.id for change in changes}
    if plan.terms.delete:
        ids |= now.keys() | plan.looks.keys()
    if moved := sorted(id for id in ids if now.get(id) != plan.looks.get(id)):
        raise Overtaken(", ".join(moved))
    return locked


def _write(change: Change, row: Function | None, plan: Plan, by: User | None) -> None:
    if change.action == Action.DELETE:
        assert row is not None
        row.delete()
        return
    if change.action == Action.CREATE:
        assert change.function is not None
        row = change.function
        row.owner = by
        row.save()
    assert row is not None
    facts = {"name": row.name, "meta": row.meta}
    if change.action == Action.UPDATE and change.fields:
        for name, value in change.fields.items():
            setattr(row, name, value)
        row.save(update_fields=[*change.fields, "updated_at"])
    if change.version is not None:
        _write_version(change, row, plan, by, facts)
    if change.valves is not None:
        valves = change.stored_valves or Valves(function=row)
        valves.values, valves.changed_by = change.valves, by
        valves.save()


def _write_version(change: Change, row: Function, plan: Plan, by: User | None, facts: dict[str, Any]) -> None:
    version, manifest = change.version, change.manifest
    assert version is not None and manifest is not None
    version.function = row
    if version._state.adding:
        version.author, version.note = by, "Imported"
        version.save()
    if plan.terms.serve:
        version.take_over(row, manifest, timezone.now(), facts)
    elif row.live_id is None:
        row.kind = manifest["kind"]
        row.save(update_fields=["kind", "updated_at"])
