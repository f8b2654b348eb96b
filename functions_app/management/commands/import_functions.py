"""Imports functions from export files, single files, folders and bundles."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from functions_app import roles
from functions_app.exchange.bundle import is_bundle, read_bundle
from functions_app.exchange.entries import Read, without_twins
from functions_app.exchange.files import read_path
from functions_app.exchange.plan import Terms
from functions_app.management.exchanging import REFUSED, USAGE, ExchangeCommand
from functions_app.runtime import RequirementError, get_runtime


class Command(ExchangeCommand):
    help = (
        "Imports functions: JSON exports, .py files with a .toml or .json file beside them, folders of such files, "
        "and bundles, whose packages are installed without any index. "
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
        with ExitStack() as stack:
            read: Read = []
            for path in options["paths"]:
                read += self._read(path, stack, options)
            terms = Terms(overwrite=options["overwrite"], serve=self.may(roles.ACTIVATE))
            plan = self.do(without_twins(read), terms, partial=options["partial"], only_plan=options["dry_run"])
        if plan.problems:
            raise CommandError("Some could not be imported.", returncode=REFUSED)

    def _read(self, path: Path, stack: ExitStack, options: dict[str, Any]) -> Read:
        """Returns what a path holds. A bundle's wheels stay on disk until ``stack`` ends."""
        taken = {"valves": not options["no_valves"], "flags": options["flags"], "policy": options["policy"]}
        if not is_bundle(path):
            return read_path(path, **taken)
        try:
            settings.FUNCTIONS_ENVIRONMENTS.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = tempfile.TemporaryDirectory(prefix=".bundle.", dir=settings.FUNCTIONS_ENVIRONMENTS)
        except OSError as error:
            raise CommandError(
                f"{path.name} cannot be unpacked in {settings.FUNCTIONS_ENVIRONMENTS}: {error.strerror or error}.",
                returncode=REFUSED,
            ) from error
        with self.progress.step(f"Unpacking {path.name}"):
            read, base = read_bundle(path, Path(stack.enter_context(place)), **taken)
        if base is not None:
            with self.progress.step("Base packages") as say:
                try:
                    get_runtime().adopt(None, base, say)
                except RequirementError as error:
                    raise CommandError(str(error), returncode=REFUSED) from error
        return read
