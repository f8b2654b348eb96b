"""Tries a function on the terminal, a file or a stored one, as ``POST .../id/{id}/run`` does over HTTP."""

from __future__ import annotations

import json
import sys
import tomllib
import uuid
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from functions_app.exchange.entries import Entry, Problem
from functions_app.exchange.files import read_file
from functions_app.management.acting import ActingCommand
from functions_app.models import Function, FunctionVersion, User
from functions_app.roles import AUTHOR, SET_POLICY, has
from functions_app.runtime import LoadError, RequirementError, get_runtime
from pipeline_app.context import Caller
from pipeline_app.errors import RequestError
from pipeline_app.management.terminal import Terminal
from pipeline_app.runners.base import Code
from pipeline_app.runners.forked import NotStarted
from pipeline_app.runners.sandbox import TooLittleIsolation
from pipeline_app.runs import log
from pipeline_app.runtime import code_of, engine
from pipeline_app.snapshot import Person, person_of
from pipeline_app.trial import HOOKS, Given, has_hook, over, user_valves_to_try, valves_to_try

Json = dict[str, Any]

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes; 0 is all well."""
FIRST_HOOK = {"pipe": "pipe", "filter": "inlet", "action": "action", "event": "event"}


class Command(ActingCommand):
    help = (
        "Calls one hook of a function, in a file or stored, and shows its answer as it comes: text on standard output, "
        "events, questions and failures on standard error. Ends with 1 when the function fails, with 2 when it was not "
        "called right. No server needs to run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("function", metavar="FILE|ID", help="a .py file, or the id of a stored function")
        parser.add_argument("--message", help="the text of the message that the hook gets")
        parser.add_argument("--hook", choices=HOOKS, help="which hook; without it, the first of the function's kind")
        parser.add_argument("--body", metavar="FILE|JSON", help="the body, completed by --message and --model")
        parser.add_argument("--valves", metavar="FILE|JSON", help="valves for this call, over those that are set")
        parser.add_argument("--user-valves", metavar="FILE|JSON", help="the same for the user's valves")
        parser.add_argument("--answers", metavar="FILE|JSON", help="a list of what __event_call__ returns, in order")
        parser.add_argument("--model", help="the id of the model that is asked for; without it, the function's own")
        parser.add_argument("--version", dest="number", type=int, metavar="N", help="which version of a stored one")
        parser.add_argument("--profile", action="store_true", help="show where the hook spends its time")

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        # Django's own --version has no use here, and the word is wanted.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        self.require(AUTHOR)
        person, is_known = self._person()
        given_valves = self._object(options, "valves")
        own_valves = self._object(options, "user_valves")
        version, is_stored = self._version(options)
        terminal = Terminal(self.stdout, self.stderr)
        try:
            code = self._loaded(version, is_stored)
            hook = self._hook(code, options["hook"])
            given = self._given(code, hook, options)
            if is_stored:
                given.valves = valves_to_try(version, given_valves, person)
                given.user_valves = user_valves_to_try(version, own_valves, person)
            else:
                given.valves = over(self._valves_of_file, given_valves)
                if own_valves is not None or code.manifest.get("user_valves") is not None:
                    given.user_valves = over(person.user_valves.get(code.function_id, {}), own_valves)
            given.ask = terminal.ask if sys.stdin is not None and sys.stdin.isatty() else None
            caller = Caller(person, f"run_function-{uuid.uuid4().hex[:12]}")
            answer = engine.wait_for(terminal.run(engine.runner, code, hook, caller, given))
        except LoadError as error:
            self._fail(terminal, {**error.error})
        except (RequirementError, NotStarted, TooLittleIsolation) as error:
            raise CommandError(str(error)) from None
        except RequestError as error:
            raise CommandError(error.message) from None
        except KeyboardInterrupt:
            terminal.say("Stopped.")
            sys.exit(INTERRUPTED)
        terminal.finish(answer)
        if is_stored and is_known:
            self._note(terminal)
        if answer["error"] is not None:
            sys.exit(FAILED)

    # --- who, what, with what -----------------------------------------------------------------------------

    def _person(self) -> tuple[Person, bool]:
        """Returns who calls: --user, else the first superuser, else somebody who is not stored; and whether he is."""
        user = self.acting
        try:
            if user is None:
                user = User.objects.filter(is_superuser=True, is_active=True).order_by("date_joined").first()
            if user is not None:
                return person_of(user), True
        except DatabaseError:  # a file can be tried before there is a database
            if self.acting is not None:
                raise
        return person_of_nobody(), False

    def _version(self, options: Json) -> tuple[FunctionVersion, bool]:
        """Returns what to run, and whether it is stored."""
        name, number = options["function"], options["number"]
        path = Path(name)
        if path.suffix == ".py" or path.is_file():
            if number is not None:
                self._refuse("--version is for stored functions; a file has none.")
            entry = read_file(path)
            if isinstance(entry, Problem):
                self._refuse(f"{name}: {entry.sentence}")
            self._valves_of_file = entry.valves or {}
            return self._of_file(entry), False
        function = Function.objects.select_related("live").filter(pk=name.replace("\0", "").lower()).first()
        if function is None:
            self._refuse(f"There is no file and no stored function {name!r}.")
        if number is not None:
            version = function.versions.filter(number=number).first()
        else:
            version = function.live or function.newest
        if version is None:
            self._refuse(f"{function.pk} has {'no version yet' if number is None else f'no version {number}'}.")
        version.function = function
        return version, True

    def _of_file(self, entry: Entry) -> FunctionVersion:
        policy = entry.policy or {}
        if self.acting is not None and not has(self.acting, SET_POLICY):
            policy = {}
        function = Function(id=entry.id, name=entry.name or entry.id, policy=policy)
        version = FunctionVersion(function=function, number=1, source=entry.source)
        try:
            version.seal()
        except ValidationError as error:
            self._refuse(" ".join(error.messages))
        return version

    @staticmethod
    def _loaded(version: FunctionVersion, is_stored: bool) -> Code:
        """Returns the code with its manifest. Raises ``RequirementError`` and ``LoadError``."""
        if not version.manifest:
            get_runtime().prepare(version)
        code = code_of(version, None if is_stored else "try")
        if code.manifest:
            return code
        return replace(code, manifest=engine.wait_for(engine.runner.inspect(code)))

    def _hook(self, code: Code, wanted: str | None) -> str:
        hook = wanted or FIRST_HOOK[code.manifest["kind"]]
        if wanted is None and hook == "inlet" and not has_hook(code.manifest, hook):
            hook = next(iter(code.manifest["hooks"]), hook)
        if not has_hook(code.manifest, hook):
            hooks = ", ".join(code.manifest["hooks"]) or "none"
            self._refuse(f"{code.function_id} has no hook {hook!r}; it has {hooks}.")
        return hook

    def _given(self, code: Code, hook: str, options: Json) -> Given:
        """Returns what the hook is tried with, but for its valves."""
        answers = self._read(options, "answers")
        if not isinstance(answers, list | None):
            self._refuse("--answers must be a list.")
        model = options["model"] or code.function_id
        return Given(
            body=self._body(hook, options, model),
            model={"id": model, "name": model},
            answers=answers or [],
            profile=options["profile"],
        )

    def _body(self, hook: str, options: Json, model: str) -> Any:
        """Returns the body that --body gives, with --message and --model in the place where this hook has them."""
        body, message = self._read(options, "body"), options["message"]
        if not isinstance(body, dict | None) and not (hook == "stream" and _is_chunks(body)):
            self._refuse("--body must be an object" + (", or a list of them." if hook == "stream" else "."))
        if hook == "stream":
            delta = {"index": 0, "delta": {"content": message or ""}, "finish_reason": None}
            return body if body is not None else {"choices": [delta]}
        if hook == "event":
            return body if body is not None else {"id": str(uuid.uuid4()), "event": message or "test", "data": {}}
        made: Json = {"model": model, **({"stream": True} if hook == "pipe" else {}), **(body or {})}
        if message is not None:
            role = "assistant" if hook in ("outlet", "action") else "user"
            said = made.get("messages")
            made["messages"] = [*(said if isinstance(said, list) else []), {"role": role, "content": message}]
        return made

    def _object(self, options: Json, name: str) -> Json | None:
        value = self._read(options, name)
        if not isinstance(value, dict | None):
            self._refuse(f"--{name.replace('_', '-')} must be an object.")
        return value

    def _read(self, options: Json, name: str) -> Any:
        """Returns the value of an option that is JSON, or the name of a JSON or TOML file; None without it."""
        given, option = options[name], f"--{name.replace('_', '-')}"
        if given is None:
            return None
        try:
            if given.lstrip()[:1] in ("{", "["):
                return json.loads(given)
            text = Path(given).read_text(encoding="utf-8")
            return tomllib.loads(text) if given.endswith(".toml") else json.loads(text)
        except OSError as error:
            self._refuse(f"{option} is neither JSON nor a file that can be read: {error.strerror}.")
        except (ValueError, RecursionError) as error:
            self._refuse(f"{option} cannot be read: {error}.")

    # --- how it ends --------------------------------------------------------------------------------------

    @staticmethod
    def _fail(terminal: Terminal, error: Json) -> NoReturn:
        terminal.say(str(error.get("traceback") or "").rstrip())
        line = f" (line {error['line']})" if error.get("line") else ""
        terminal.say(f"The source does not load: {error['type']}: {error['message']}{line}")
        sys.exit(FAILED)

    @staticmethod
    def _note(terminal: Terminal) -> None:
        """Writes the run down, as a server would. That it cannot be is no failure of the function."""
        try:
            log.write()
        except DatabaseError as error:
            terminal.say(f"The run could not be written down: {error}.")

    @staticmethod
    def _refuse(sentence: str) -> NoReturn:
        raise CommandError(sentence, returncode=USAGE)


def _is_chunks(body: Any) -> bool:
    return isinstance(body, list) and bool(body) and all(isinstance(chunk, dict) for chunk in body)


def person_of_nobody() -> Person:
    """Returns the operator of the machine as functions are told of him when no user is stored."""
    nobody = User(username="operator", is_superuser=True, is_staff=True, updated_at=timezone.now())
    return Person(
        id=str(nobody.pk),
        is_admin=True,
        user=nobody.to_wire(),
        groups=frozenset(),
        key_id=None,
        scopes=frozenset(),
        expires_at=None,
        user_valves={},
        user_valves_errors={},
    )
