"""Writes functions as Open WebUI's export file, as a folder of files that sync_functions reads back, or as a bundle."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from functions_app import roles, wire
from functions_app.exchange import bundle, export
from functions_app.exchange.files import write_folder
from functions_app.fields import UndecryptableValves
from functions_app.management.acting import ActingCommand
from functions_app.management.exchanging import REFUSED, USAGE
from functions_app.management.progress import Progress, Say
from functions_app.models import Function
from functions_app.runtime import Packed, RequirementError, get_runtime

Json = dict[str, Any]


class Command(ActingCommand):
    help = (
        "Exports functions, without secrets: as JSON in Open WebUI's format, as a folder of .py files, or with their "
        "packages as a bundle for a server that has no index to install from."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="the functions (all)")
        parser.add_argument("--valves", action="store_true", help="with the valves that are set, except secrets")
        parser.add_argument("--format", choices=["json", "folder"], default="json")
        parser.add_argument("-o", "--output", default="-", metavar="PATH", help="file or folder; - is standard output")
        parser.add_argument(
            "--bundle", metavar="FILE", help="write one archive with the functions, their locks and all wheels of those"
        )
        parser.add_argument("--with-base", action="store_true", help="with --bundle: the base packages' wheels, too")

    def handle(self, *args: Any, **options: Any) -> None:
        self.require(roles.VIEW, roles.AUTHOR)
        if options["valves"]:
            self.require(roles.CONFIGURE)
        if options["bundle"] and (options["format"] == "folder" or options["output"] != "-"):
            raise CommandError("A bundle goes to its own file: --bundle FILE alone.", returncode=USAGE)
        if options["with_base"] and not options["bundle"]:
            raise CommandError("--with-base is for a bundle: --bundle FILE.", returncode=USAGE)
        if options["format"] == "folder" and options["output"] == "-":
            raise CommandError("A folder needs a place: -o PATH.", returncode=USAGE)
        functions = Function.objects.select_related("live").order_by("pk")
        if options["ids"]:
            wanted = [id.replace("\0", "").lower() for id in options["ids"]]
            functions = functions.filter(pk__in=wanted)
            if missing := sorted(set(wanted) - set(functions.values_list("pk", flat=True))):
                raise CommandError(f"There is no function {', '.join(missing)}.", returncode=REFUSED)
        try:
            if options["bundle"]:
                self._write_bundle(functions, options)
            elif options["format"] == "folder":
                self._write_folder(functions, options)
            else:
                self._write_json(functions, options)
        except UndecryptableValves as error:
            raise CommandError(f"{error} Without --valves the export works.", returncode=REFUSED) from error
        except RequirementError as error:
            raise CommandError(f"Nothing was written. {error}", returncode=REFUSED) from error
        except OSError as error:
            raise CommandError(
                f"{options['bundle'] or options['output']} cannot be written: {error.strerror or error}.",
                returncode=REFUSED,
            ) from error

    def _write_json(self, functions: Any, options: dict[str, Any]) -> None:
        to_stdout = options["output"] == "-"  # whose encoding may be any
        text = json.dumps(export.entries(functions, valves=options["valves"]), ensure_ascii=to_stdout)
        if to_stdout:
            self.stdout.write(text)
            return
        path = Path(options["output"])
        aside = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
        try:
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)

    def _write_bundle(self, functions: Any, options: dict[str, Any]) -> None:
        progress = Progress(self.stdout)
        path = Path(options["bundle"])
        settings.FUNCTIONS_ENVIRONMENTS.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Beside the sets: that is where there is room for packages.
        with tempfile.TemporaryDirectory(prefix=".bundle.", dir=settings.FUNCTIONS_ENVIRONMENTS) as name:
            packages, base = self._pack(functions, Path(name), progress, with_base=options["with_base"])
            told = list(export.with_policy(functions, valves=options["valves"]))
            with progress.step("Writing") as say:
                digest = bundle.write(path, told, packages, base)
                say(f"{path.stat().st_size / 1e6:.1f} MB")
        progress.line(f"{len(told)} function{'s' * (len(told) != 1)} written to {path}, SHA-256 {digest}.")

    def _pack(
        self, functions: Any, folder: Path, progress: Progress, *, with_base: bool
    ) -> tuple[dict[str, Packed], Packed | None]:
        """Puts the wheels of all functions into a folder; returns what they are locked to, by id, and the base."""
        runtime = get_runtime()
        packages: dict[str, Packed] = {}
        shown = list(wire.shown(functions, source=True))
        with progress.bar("Packing", len(shown) + with_base) as advance:
            for number, (function, version) in enumerate(shown):
                advance(function.pk)
                place = folder / str(number)
                place.mkdir()
                if version is not None and (packed := runtime.pack(version, place, lambda told: None)) is not None:
                    packages[function.pk] = packed
            if not with_base:
                return packages, None
            advance("base packages")
            place = folder / "base"
            place.mkdir()
            return packages, runtime.pack(None, place, lambda told: None)

    def _write_folder(self, functions: Any, options: dict[str, Any]) -> None:
        progress = Progress(self.stdout)
        told = export.with_policy(functions, valves=options["valves"])
        with progress.bar("Writing", functions.count()) as advance:
            count, others = write_folder(Path(options["output"]), _each(told, advance))
        progress.line(f"{count} function{'s' * (count != 1)} written to {options['output']}.")
        if others:
            progress.line(f"Not of this export, but sync_functions would read them there: {', '.join(others)}")


def _each(told: Iterator[Json], advance: Say) -> Iterator[Json]:
    for one in told:
        advance(one["id"])
        yield one
