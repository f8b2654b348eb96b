"""Writes functions as Open WebUI's export file, or as a folder of files that sync_functions reads back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from functions_app import roles
from functions_app.exchange import export
from functions_app.exchange.files import write_folder
from functions_app.fields import UndecryptableValves
from functions_app.management.acting import ActingCommand
from functions_app.management.exchanging import REFUSED, USAGE
from functions_app.management.progress import Progress, Say
from functions_app.models import Function

Json = dict[str, Any]


class Command(ActingCommand):
    help = "Exports functions, without secrets: as JSON in Open WebUI's format, or as a folder of .py files."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="the functions (all)")
        parser.add_argument("--valves", action="store_true", help="with the valves that are set, except secrets")
        parser.add_argument("--format", choices=["json", "folder"], default="json")
        parser.add_argument("-o", "--output", default="-", metavar="PATH", help="file or folder; - is standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        self.require(roles.VIEW, roles.AUTHOR)
        if options["valves"]:
            self.require(roles.CONFIGURE)
        if options["format"] == "folder" and options["output"] == "-":
            raise CommandError("A folder needs a place: -o PATH.", returncode=USAGE)
        functions = Function.objects.select_related("live").order_by("pk")
        if options["ids"]:
            wanted = [id.replace("\0", "").lower() for id in options["ids"]]
            functions = functions.filter(pk__in=wanted)
            if missing := sorted(set(wanted) - set(functions.values_list("pk", flat=True))):
                raise CommandError(f"There is no function {', '.join(missing)}.", returncode=REFUSED)
        try:
            if options["format"] == "folder":
                self._write_folder(functions, options)
            else:
                self._write_json(functions, options)
        except UndecryptableValves as error:
            raise CommandError(f"{error} Without --valves the export works.", returncode=REFUSED) from error
        except OSError as error:
            raise CommandError(
                f"{options['output']} cannot be written: {error.strerror or error}.", returncode=REFUSED
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
