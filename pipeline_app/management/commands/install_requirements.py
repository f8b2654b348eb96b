"""Installs what functions run with on this machine: the base packages, and the sets that they ask for themselves."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from functions_app.management.progress import Progress
from functions_app.models import Function, FunctionVersion
from functions_app.runtime import RequirementError
from pipeline_app import upkeep
from pipeline_app.runners import environments

FAILED, USAGE = 1, 2
"""Exit codes; 0 is that all is there."""


class Command(BaseCommand):
    help = (
        "Installs packages into FUNCTIONS_ENVIRONMENTS: the base packages, and what functions that serve ask for and "
        "is missing here. Ends with 1 when something could not be had, with 2 when it was not called right."
    )
    requires_system_checks: list[str] = []  # works before the database exists

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="these functions only, with the base packages")
        parser.add_argument("--base", action="store_true", help="only the base packages")
        parser.add_argument(
            "--all", action="store_true", help="all functions; those are published, too, that wait for their packages"
        )
        parser.add_argument("--check", action="store_true", help="install nothing; end with 1 when something lacks")
        parser.add_argument(
            "--upgrade", action="store_true", help="find the newest versions again, and let functions serve with those"
        )
        parser.add_argument("--offline", metavar="DIR", type=Path, help="take wheels from a folder, and ask no index")

    def handle(self, *args: Any, **options: Any) -> None:
        self._check_usage(options)
        self.progress = Progress(self.stdout)
        before = settings.FUNCTIONS_WHEELS
        try:
            if options["offline"] is not None:
                settings.FUNCTIONS_WHEELS = options["offline"].resolve()
            if options["check"]:
                self._look(options)
            else:
                self._install(options)
        except RequirementError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        finally:
            settings.FUNCTIONS_WHEELS = before

    @staticmethod
    def _check_usage(options: dict[str, Any]) -> None:
        if bool(options["ids"]) + options["base"] + options["all"] > 1:
            raise CommandError("Name functions, or say --base, or --all; not several of them.", returncode=USAGE)
        if options["upgrade"] and (options["base"] or options["check"]):
            raise CommandError(
                "--upgrade is for what functions ask for themselves: name functions, or say --all.", returncode=USAGE
            )
        if options["offline"] is not None and not options["offline"].is_dir():
            raise CommandError(f"There is no folder {options['offline']}.", returncode=USAGE)

    # --- Looking -------------------------------------------------------------------------------------

    def _look(self, options: dict[str, Any]) -> None:
        base = environments.base_packages()
        problems = []
        if base.is_built:
            self.stdout.write(f"The base packages are installed in {base.path}.")
        else:
            problems.append(f"The base packages of {base.lock.name} are not installed for this Python.")
        serving = [version for version in self._versions(options) if version.state == FunctionVersion.State.LIVE]
        with_sets = [version for version in serving if version.environment is not None]
        missing = [version for version in with_sets if not upkeep.is_there(version)]
        if missing:
            problems.append(f"Not installed for this Python: the packages of {', '.join(map(str, missing))}.")
        elif with_sets:
            self.stdout.write(f"What {_counted(len(with_sets), 'function')} ask for is installed.")
        if problems:
            raise CommandError(f"{' '.join(problems)} Run {environments.INSTALL_COMMAND}.", returncode=FAILED)

    # --- Installing ----------------------------------------------------------------------------------

    def _install(self, options: dict[str, Any]) -> None:
        with self.progress.step("Base packages") as say:
            path = environments.build_base(say)
            say(f"{len(list(path.glob('*.dist-info')))} packages in {path}")
        work = [
            (version, task)
            for version in self._versions(options)
            if (task := _task(version, upgrade=options["upgrade"])) is not None
        ]
        if not work:
            return
        told: list[str] = []
        failed = 0
        with self.progress.bar("Functions", len(work)) as advance:
            for version, task in work:
                advance(str(version))
                try:
                    told.append(f"{task(version):<9}  {version}  {_packages(version)}".rstrip())
                except upkeep.FAILURES as error:
                    failed += 1
                    told.append(f"{'failed':<9}  {version}  {error}")
        for line in sorted(told, key=lambda line: line.startswith("failed")):
            self.progress.line(line)
        if failed:
            raise CommandError(
                f"The packages of {_counted(failed, 'function')} could not be had; what served before serves.",
                returncode=FAILED,
            )

    def _versions(self, options: dict[str, Any]) -> list[FunctionVersion]:
        """Returns the versions to look after: what serves, and of functions asked for what waits for its packages."""
        if options["base"]:
            return []
        asked = bool(options["ids"] or options["all"])
        found: list[FunctionVersion] = []
        try:
            functions = Function.objects.select_related("live__environment").order_by("pk")
            if options["ids"]:
                functions = functions.filter(pk__in=_known(options["ids"]))
            for function in functions:
                newest = function.newest if asked else None
                waiting = newest if newest is not None and _waits(newest) else None
                for version in (function.live, waiting):
                    if version is not None:
                        version.function = function
                        found.append(version)
        except DatabaseError as error:
            if asked:
                raise CommandError(
                    f"The functions cannot be read ({str(error).strip()}). Run manage.py migrate first.",
                    returncode=FAILED,
                ) from error
            self.progress.line("There is no database yet, so there are no functions to look after.")
        return found


def _known(ids: list[str]) -> list[str]:
    wanted = [id.replace("\0", "").lower() for id in ids]
    found = set(Function.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    if missing := sorted(set(wanted) - found):
        raise CommandError(f"There is no function {', '.join(missing)}.", returncode=USAGE)
    return wanted


def _waits(version: FunctionVersion) -> bool:
    """Whether nothing but its packages keeps a version from serving, as far as is known."""
    error = version.error or {}
    return version.state == FunctionVersion.State.BROKEN and error.get("type") == RequirementError.__name__


def _task(version: FunctionVersion, *, upgrade: bool) -> Callable[[FunctionVersion], str] | None:
    """Returns what is to be done for a version, which returns what was done in a word; None for nothing."""
    if version.state != FunctionVersion.State.LIVE:
        return _publish
    if upgrade and (version.manifest or {}).get("requirements"):
        return _upgrade
    return None if upkeep.is_there(version) else _restore


def _publish(version: FunctionVersion) -> str:
    if not version.publish() and version.state == FunctionVersion.State.BROKEN:
        raise RequirementError(str((version.error or {}).get("message", "It does not load.")))
    return "published"


def _upgrade(version: FunctionVersion) -> str:
    return "upgraded" if upkeep.upgrade(version) else "unchanged"


def _restore(version: FunctionVersion) -> str:
    upkeep.restore(version)
    return "installed"


def _packages(version: FunctionVersion) -> str:
    """Returns what a version runs with, as people are told of it."""
    if version.environment is None:
        return ""
    names = [f"{name} {number}" for name, number in version.environment.packages.items()]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
