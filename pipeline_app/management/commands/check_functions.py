"""Checks stored functions or files as ``POST /api/v1/functions/validate`` does, with exit codes for CI."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError

from functions_app.exchange.entries import Problem
from functions_app.exchange.files import read_file
from functions_app.management.acting import ActingCommand
from functions_app.models import Function, FunctionVersion
from functions_app.roles import AUTHOR, SET_POLICY, has
from functions_app.runtime import get_runtime
from pipeline_app.errors import RequestError
from pipeline_app.runners.forked import NotStarted
from pipeline_app.runners.sandbox import TooLittleIsolation
from pipeline_app.worker.checking.findings import SEVERITIES, anywhere, told

Json = dict[str, Any]

ERRORS, USAGE = 1, 2
"""Exit codes; 0 is all well."""
GITHUB = {"error": "error", "warning": "warning", "info": "notice"}
LEFT_OUT = frozenset(("__pycache__", "node_modules", "venv", "__init__.py"))


@dataclass(slots=True)
class Target:
    """Something to check: where people find it, and a version, or why there is none."""

    where: str
    version: FunctionVersion | None = None
    stored: bool = False
    problem: str = ""

    def to_wire(self, found: Json) -> Json:
        """Returns what is told of it in JSON."""
        version = self.version
        name: Json = {"file": self.where}
        if self.stored and version is not None:
            name = {"id": version.function_id, "version": version.number}
        return {**name, **{key: found[key] for key in ("ok", "kind", "findings")}}


class Command(ActingCommand):
    help = (
        "Checks the code of stored functions (the live version, else the newest), of files, or of all .py files in "
        "folders. Ends with 1 when there are errors, with 2 when it was not called right."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("targets", nargs="*", metavar="ID|FILE|DIR", help="what to check")
        parser.add_argument("--all", action="store_true", help="check all stored functions")
        parser.add_argument("--format", choices=("text", "json", "github"), default="text", help="how to tell (text)")
        parser.add_argument("--strict", action="store_true", help="end with 1 for warnings, too")

    def handle(self, *args: Any, **options: Any) -> None:
        self.require(AUTHOR)
        if bool(options["targets"]) == options["all"]:
            raise CommandError("Name functions, files or folders to check, or say --all.", returncode=USAGE)
        targets = list(self._all() if options["all"] else self._named(options["targets"]))
        checked = []
        for target in targets:
            found = self._check(target)
            checked.append((target, found))
            if options["format"] != "json":
                lines = self._github(target, found) if options["format"] == "github" else self._text(target, found)
                for line in lines:
                    self.stdout.write(line)
        severities = Counter(finding["severity"] for _, found in checked for finding in found["findings"])
        failed = bool(severities["error"] or (options["strict"] and severities["warning"]))
        if options["format"] == "json":
            wire = [target.to_wire(found) for target, found in checked]
            self.stdout.write(json.dumps({"ok": not failed, "functions": wire}, ensure_ascii=False, indent=2))
        elif options["format"] == "text":
            self.stdout.write(_counted(len(checked), "function") + f" checked: {_summary(severities) or 'all well'}.")
        if failed:
            sys.exit(ERRORS)

    # --- what to check ------------------------------------------------------------------------------------

    def _all(self) -> Iterator[Target]:
        for function in Function.objects.select_related("live").order_by("pk"):
            yield self._stored(function)

    def _named(self, names: list[str]) -> Iterator[Target]:
        for name in names:
            path = Path(name)
            function = _stored(name.lower())
            if function is not None and path.suffix != ".py":
                yield self._stored(function)
            elif path.is_dir():
                files = sorted(
                    file
                    for file in path.rglob("*.py")
                    if not any(part in LEFT_OUT or part.startswith(".") for part in file.relative_to(path).parts)
                )
                if not files:
                    raise CommandError(f"There is no .py file in {name}.", returncode=USAGE)
                yield from map(self._file, files)
            elif path.is_file():
                yield self._file(path)
            else:
                raise CommandError(f"There is no function, file or folder {name!r}.", returncode=USAGE)

    @staticmethod
    def _stored(function: Function) -> Target:
        version = function.live or function.newest
        if version is None:
            return Target(function.pk, problem="It has no version yet.", stored=True)
        version.function = function
        return Target(f"{function.pk} v{version.number}", version, stored=True)

    def _file(self, path: Path) -> Target:
        entry = read_file(path, valves=False)
        if isinstance(entry, Problem):
            return Target(str(path), problem=entry.sentence)
        stored = _stored(entry.id)
        policy = stored.policy if stored is not None else {}
        if entry.policy is not None and (self.acting is None or has(self.acting, SET_POLICY)):
            policy = entry.policy
        version = FunctionVersion(function=Function(id=entry.id, policy=policy), number=0, source=entry.source)
        try:
            version.seal()
        except ValidationError as error:
            return Target(str(path), problem=" ".join(error.messages))
        return Target(str(path), version)

    @staticmethod
    def _check(target: Target) -> Json:
        code, problem = "syntax-error", target.problem
        if target.version is not None:
            try:
                return get_runtime().check(target.version)
            except RequestError as error:  # too long, or this server cannot run it
                code, problem = "crashed", error.message
            except (NotStarted, TooLittleIsolation) as error:
                raise CommandError(f"Nothing can be checked: {error}") from None
        return {"ok": False, "kind": None, "findings": told([anywhere(code, problem)])}

    # --- how it is told -----------------------------------------------------------------------------------

    def _text(self, target: Target, found: Json) -> Iterator[str]:
        findings = found["findings"]
        counts = _summary(Counter(finding["severity"] for finding in findings))
        yield f"{target.where} ({found['kind'] or 'no function'}): {counts or 'ok'}"
        colours: dict[str, Callable[[str], str]]
        colours = {"error": self.style.ERROR, "warning": self.style.WARNING, "info": str}
        for finding in findings:
            place = ":".join(str(part) for part in (target.where, finding["line"], finding["column"]) if part)
            severity = colours[finding["severity"]](finding["severity"])
            yield f"  {place}: {severity} {finding['code']}: {finding['message']}"

    def _github(self, target: Target, found: Json) -> Iterator[str]:
        for finding in found["findings"]:
            fields = {
                "file": None if target.stored else target.where,
                "line": finding["line"],
                "endLine": finding["end_line"],
                "col": finding["column"],
                "endColumn": finding["end_column"],
                "title": f"{target.where}: {finding['code']}" if target.stored else finding["code"],
            }
            named = ",".join(f"{name}={_property(value)}" for name, value in fields.items() if value is not None)
            yield f"::{GITHUB[finding['severity']]} {named}::{_escaped(finding['message'])}"


def _stored(function_id: str) -> Function | None:
    """Returns a stored function; None without one, and where there is no database: files can be checked without."""
    try:
        return Function.objects.select_related("live").filter(pk=function_id.replace("\0", "")).first()
    except DatabaseError:
        return None


def _summary(severities: Counter[str]) -> str:
    words = {"error": "error", "warning": "warning", "info": "remark"}
    return ", ".join(_counted(severities[one], words[one]) for one in SEVERITIES if severities[one])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: Any) -> str:
    return _escaped(str(value)).replace(":", "%3A").replace(",", "%2C")
