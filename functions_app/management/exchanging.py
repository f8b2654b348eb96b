"""What the commands that import and sync functions share: bars, what became of each function, exit codes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property

from django.core.management.base import CommandError

from functions_app.exchange.entries import Read
from functions_app.exchange.plan import Action, Change, Plan, Terms
from functions_app.exchange.run import Conflict, NotAllowed, Refused, Steps, carry_out
from functions_app.management.acting import ActingCommand
from functions_app.management.progress import Progress, Say

REFUSED = 1
USAGE = 2

WORDS = {
    Action.CREATE: ("create", "created"),
    Action.UPDATE: ("update", "updated"),
    Action.DELETE: ("delete", "deleted"),
    Action.KEEP: ("keep", "kept"),
    Action.REFUSE: ("refuse", "refused"),
}
"""What is planned, and what was done."""


class ExchangeCommand(ActingCommand):
    """A command that carries out what it has read. Ends with 0, 1 when something was refused, 2 for wrong usage."""

    @cached_property
    def progress(self) -> Progress:
        return Progress(self.stdout)

    def do(self, read: Read, terms: Terms, *, partial: bool = False, only_plan: bool = False) -> Plan:
        """Does what was read, saying how it goes. Raises ``CommandError`` when nothing could be done."""
        try:
            with ShownSteps(self.progress) as steps:
                plan = carry_out(
                    read, terms, self.acting, may=self.may, partial=partial, only_plan=only_plan, steps=steps
                )
        except Refused as error:
            self.show(error.plan, done=False)
            raise CommandError("Nothing was changed.", returncode=REFUSED) from error
        except (Conflict, NotAllowed) as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        self.show(plan, done=not only_plan)
        return plan

    def show(self, plan: Plan, *, done: bool) -> None:
        """Writes a line for each function, problems last so that they are what one sees."""
        width = max((len(change.id) for change in plan.changes), default=0)
        for change in sorted(plan.changes, key=lambda change: change.action == Action.REFUSE):
            self.progress.line(_line(change, min(width, 40), done=done))
            for note in change.notes:
                self.progress.line(f"           {note}")
        counts = ((plan.count(action), WORDS[action]) for action in Action)
        told = ", ".join(f"{count} {words[1] if done else f'to {words[0]}'}" for count, words in counts if count)
        self.progress.line(told or "No functions.")


def _line(change: Change, width: int, *, done: bool) -> str:
    word = WORDS[change.action][done or change.action in (Action.KEEP, Action.REFUSE)]
    if change.action == Action.REFUSE:
        return f"{word:<9}  {change.problem}"
    return f"{word:<9}  {change.id:<{width}}  {', '.join(change.reasons) or 'unchanged'}".rstrip()


class ShownSteps(Steps):
    """Shows a bar for each of the two long steps."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stack = ExitStack()
        self.tell: Say = lambda detail: None

    def __enter__(self) -> ShownSteps:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _bar(self, title: str, total: int) -> None:
        self.stack.close()
        self.tell = self.stack.enter_context(self.progress.bar(title, total)) if total else lambda detail: None

    def drawn(self, plan: Plan) -> None:
        self._bar("Checking", sum(change.is_tried for change in plan.changes))

    def checking(self, id: str) -> None:
        self.tell(id)

    def checked(self, plan: Plan) -> None:
        self._bar("Writing", len(plan.effective))

    def written(self, id: str) -> None:
        self.tell(id)
