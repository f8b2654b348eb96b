"""An import or a sync from beginning to end: draw the plan, ask for permission, check, apply; again when overtaken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from functions_app import roles
from functions_app.exchange.apply import Overtaken, apply
from functions_app.exchange.check import check
from functions_app.exchange.entries import Read
from functions_app.exchange.files import read_file
from functions_app.exchange.plan import Action, Plan, Terms, draw
from functions_app.models import Function, User

ATTEMPTS = 3


class Refused(Exception):
    """Something in the plan can't be done, so nothing was. The message has a sentence for each problem."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(" ".join(plan.problems))
        self.plan = plan


class Conflict(Exception):
    """Functions were changed by others again and again while the plan was checked; nothing was written."""


class NotAllowed(Exception):
    """Who acts lacks a permission that the plan needs."""


class Steps:
    """Hears how an import or a sync gets on; each method is given what its step is about to do or has done."""

    def drawn(self, plan: Plan) -> None:
        """The plan is drawn, and its code will be tried next."""

    def checking(self, id: str) -> None:
        """A function is about to be tried."""

    def checked(self, plan: Plan) -> None:
        """All of the plan was tried, and it is about to be written."""

    def written(self, id: str) -> None:
        """A function was written, in a transaction that goes on."""


def carry_out(
    read: Read,
    terms: Terms,
    by: User | None,
    *,
    may: Callable[[str], bool] = lambda permission: True,
    partial: bool = False,
    only_plan: bool = False,
    steps: Steps | None = None,
) -> Plan:
    """Does what was read, in one transaction, and returns the plan as it was carried out.

    With ``partial`` what can be done is done; otherwise a single problem means that nothing is, and raises
    ``Refused`` with all problems. ``may`` answers whether who acts holds a permission. ``only_plan`` checks
    everything, writes nothing, and returns plans with problems too. Raises ``NotAllowed`` and ``Conflict``.
    """
    steps = steps or Steps()
    moved = ""
    for _ in range(ATTEMPTS):
        plan = draw(read, terms)
        if lacking := [permission for permission in plan.needs() if not may(permission)]:
            raise NotAllowed(_lacking(lacking))
        steps.drawn(plan)
        check(plan, steps.checking)
        if only_plan:
            return plan
        if plan.problems and not partial:
            raise Refused(plan)
        steps.checked(plan)
        try:
            apply(plan, by, steps.written)
        except Overtaken as error:
            moved = str(error)
            continue
        return plan
    raise Conflict(f"Nothing was changed: others changed the same functions meanwhile ({moved}). Try again.")


def _lacking(permissions: list[str]) -> str:
    wants = " and ".join(f"{permission!r} (to {roles.ROLES[permission]})" for permission in permissions)
    return f"This needs the permission {wants}."


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file. ``error`` is a sentence, None when all went well; ``function`` is None when there is
    none of that id; ``created`` is False also when it existed and was left alone."""

    function: Function | None
    created: bool
    error: str | None


def import_file(path: Path, owner: User | None) -> Imported:
    """Makes the function in a ``.py`` file, as the file beside it says, unless there is one of that id."""
    try:
        plan = carry_out([read_file(path)], Terms(), owner)
    except (Refused, Conflict) as error:
        return Imported(None, False, str(error))
    (change,) = plan.changes
    function = Function.objects.filter(pk=change.id).first()
    return Imported(function, change.action == Action.CREATE, " ".join(change.notes) or None)
