"""Builds the base packages that functions find installed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from functions_app.management.progress import Progress
from functions_app.runtime import RequirementError
from pipeline_app.runners import environments


class Command(BaseCommand):
    help = "Installs the base packages of functions into FUNCTIONS_ENVIRONMENTS; does nothing when they are there."
    requires_system_checks: list[str] = []  # works before the database exists

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--base", action="store_true", help="only the base packages (today the only set there is)")
        parser.add_argument(
            "--check", action="store_true", help="install nothing; end with 1 when packages are missing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            base = environments.base_packages()
            if options["check"]:
                self._check(base)
                return
            with Progress(self.stdout).step("Base packages") as say:
                path = environments.build_base(say)
                say(f"{len(list(path.glob('*.dist-info')))} packages in {path}")
        except RequirementError as error:
            raise CommandError(str(error)) from error

    def _check(self, base: environments.BasePackages) -> None:
        if not base.is_built:
            raise CommandError(
                f"The base packages of {base.lock.name} are not installed for this Python. "
                f"Run {environments.INSTALL_COMMAND}."
            )
        self.stdout.write(f"The base packages are installed in {base.path}.")
