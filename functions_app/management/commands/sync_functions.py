"""Makes the functions of this server those of a folder or a git repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from functions_app import roles
from functions_app.exchange import git
from functions_app.exchange.entries import Read
from functions_app.exchange.files import read_folder
from functions_app.exchange.plan import Plan, Taking, Terms
from functions_app.management.exchanging import REFUSED, USAGE, ExchangeCommand

CHANGES = 3


class Command(ExchangeCommand):
    help = (
        "Makes the functions of this server those of a folder of .py files, or of a git repository: creates, updates, "
        "and deletes those that are not there, in one transaction. Valves that are set are never overwritten. "
        "export_functions --format folder is the way back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", metavar="DIR|GIT", help="a folder, or a repository: https, ssh, file, or a path")
        parser.add_argument(
            "--plan",
            action="store_true",
            help=f"try everything and say what would be done, but do nothing; ends with {CHANGES} if it would",
        )
        parser.add_argument("--keep-others", action="store_true", help="delete no functions")
        parser.add_argument("--ref", default="", help="branch, tag or commit of the repository (its default branch)")
        parser.add_argument("--subfolder", default="", metavar="PATH", help="the folder of the repository to read")

    def handle(self, *args: Any, **options: Any) -> None:
        for permission in (roles.AUTHOR, roles.ACTIVATE, roles.CONFIGURE):
            self.require(permission)
        source, ref, subfolder = options["source"], options["ref"], options["subfolder"]
        if ref or git.is_repository(source):
            try:
                with self.progress.step("Fetching") as say, git.checked_out(source, ref, subfolder) as folder:
                    read = read_folder(folder)
                    say(f"{len(read)} functions")
            except git.GitError as error:
                raise CommandError(str(error), returncode=REFUSED) from error
        else:
            folder = Path(source) / subfolder
            if not folder.is_dir():
                raise CommandError(f"{source} is no folder and no repository.", returncode=USAGE)
            read = read_folder(folder)
        plan = self._sync(read, options)
        if plan.problems:
            raise CommandError("This cannot be done as it stands.", returncode=REFUSED)
        if options["plan"] and plan.effective:
            raise SystemExit(CHANGES)

    def _sync(self, read: Read, options: dict[str, Any]) -> Plan:
        if not read:
            # Far more often a wrong path than the wish to have no functions at all.
            raise CommandError("There are no functions (.py files), so nothing is done.", returncode=REFUSED)
        terms = Terms(overwrite=True, delete=not options["keep_others"], valves=Taking.NEW)
        return self.do(read, terms, only_plan=options["plan"])
