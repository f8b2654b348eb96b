"""Imports functions from export files, single files and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from functions_app import roles
from functions_app.exchange.entries import Read, without_twins
from functions_app.exchange.files import read_path
from functions_app.exchange.plan import Terms
from functions_app.management.exchanging import REFUSED, USAGE, ExchangeCommand


class Command(ExchangeCommand):
    help = (
        "Imports functions: JSON exports, .py files with a .toml or .json file beside them, folders of such files. "
        "All or nothing: everything is tried first, then written in one transaction."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="PATH", type=Path)
        parser.add_argument("--overwrite", action="store_true", help="change functions that exist; else they are kept")
        parser.add_argument("--partial", action="store_true", help="import what can be imported, refuse the rest")
        parser.add_argument(
            "--flags", action="store_true", help="take active and global from exports too, not only from .py files"
        )
        parser.add_argument("--policy", action="store_true", help="take policies from exports, too")
        parser.add_argument("--no-valves", action="store_true", help="leave out the valves that files hold")
        parser.add_argument("--dry-run", action="store_true", help="try everything, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        self.require(roles.AUTHOR)
        for path in options["paths"]:
            if not path.exists():
                raise CommandError(f"There is no {path}.", returncode=USAGE)
        valves = not options["no_valves"]
        read: Read = []
        for path in options["paths"]:
            read += read_path(path, valves=valves, flags=options["flags"], policy=options["policy"])
        terms = Terms(overwrite=options["overwrite"], serve=self.may(roles.ACTIVATE))
        plan = self.do(without_twins(read), terms, partial=options["partial"], only_plan=options["dry_run"])
        if plan.problems:
            raise CommandError("Some could not be imported.", returncode=REFUSED)
