"""Trying functions on the command line, files and stored ones."""

from __future__ import annotations

import json
import sys
from io import StringIO

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from pipeline_app.models import Run
from pipeline_app.runs import log
from tests.builders import make_function, make_version

PIPE = '''"""
title: Talker
"""

import asyncio

from pydantic import BaseModel


class Pipe:
    class Valves(BaseModel):
        greeting: str = "Hello"
        mark: str = "."

    class UserValves(BaseModel):
        tone: str = "dry"

    def __init__(self):
        self.valves = self.Valves()

    async def pipe(self, body, __user__, __event_emitter__, __event_call__):
        await __event_emitter__({"type": "status", "data": {"description": "thinking"}})
        for word in (self.valves.greeting, body["messages"][-1]["content"], __user__["valves"].tone):
            yield f"{word} "
        if "ask" in body["messages"][-1]["content"]:
            yield str(await __event_call__({"type": "confirmation", "data": {"title": "Sure?", "message": "Say."}}))
        yield self.valves.mark
'''
FILTER = '"""\ntitle: F\n"""\n\n\nclass Filter:\n    def outlet(self, body):\n        body["seen"] = True\n        return body\n'
BROKEN = PIPE.replace("        yield self.valves.mark\n", '        raise ValueError("as you wish")\n')

pytestmark = pytest.mark.usefixtures("base_packages", "fresh_snapshot")


def run(*arguments: str) -> tuple[int, str, str]:
    """Returns the exit code and what went to standard output and to standard error."""
    out, err = StringIO(), StringIO()
    try:
        call_command("run_function", *arguments, stdout=out, stderr=err, no_color=True)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with functions, the current one."""
    monkeypatch.chdir(tmp_path)
    for name, source in (("talker", PIPE), ("broken", BROKEN), ("seen", FILTER)):
        (tmp_path / f"{name}.py").write_text(source)
    return tmp_path


def test_a_file_is_streamed_with_its_events_beside(folder):
    code, out, err = run("talker.py", "--message", "you")
    assert (code, out) == (0, "Hello you dry .\n")
    assert err.startswith('event status: {"description": "thinking"}\nIt took ')


def test_valves_come_from_the_option_over_the_file_beside(folder):
    (folder / "talker.toml").write_text('[valves]\ngreeting = "Moin"\nmark = "!"\n')
    (folder / "own.json").write_text('{"tone": "warm"}')
    code, out, _ = run("talker.py", "--message", "you", "--valves", '{"mark": "?"}', "--user-valves", "own.json")
    assert (code, out) == (0, "Moin you warm ?\n")


def test_answers_are_given_in_order_and_then_the_dialog_is_closed(folder):
    code, out, err = run("talker.py", "--message", "ask", "--answers", "[true]")
    assert (code, out) == (0, "Hello ask dry True.\n")
    assert 'asked confirmation: {"title": "Sure?", "message": "Say."}, answered true' in err
    assert run("talker.py", "--message", "ask")[1] == "Hello ask dry False.\n"


def test_on_a_terminal_the_person_is_asked(folder, monkeypatch):
    class Terminal(StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    code, out, err = run("talker.py", "--message", "ask")
    assert (code, out.splitlines()) == (0, ["Hello ask dry ", "True."])
    assert "Sure?\nSay.\n" in err


def test_a_failing_function_ends_with_1_and_the_authors_traceback(folder):
    code, out, err = run("broken.py", "--message", "you")
    assert code == 1
    assert out == "Hello you dry \n"
    assert 'File "/functions/broken/v1.py", line 27, in pipe' in err
    assert "ValueError: as you wish (line 27)" in err


def test_a_file_that_does_not_load_ends_with_1(folder):
    (folder / "bad.py").write_text(PIPE + "\nvalue = 1 / 0\n")
    code, out, err = run("bad.py", "--message", "you")
    assert (code, out) == (1, "")
    assert err.endswith("The source does not load: ZeroDivisionError: division by zero (line 29)\n")


def test_hooks_that_answer_a_value_are_printed_as_json(folder):
    code, out, _ = run("seen.py", "--message", "hi", "--body", '{"chat_id": "c"}', "--model", "m")
    assert code == 0
    assert json.loads(out) == {
        "model": "m",
        "chat_id": "c",
        "messages": [{"role": "assistant", "content": "hi"}],
        "seen": True,
    }


def test_the_profile_of_an_async_and_of_a_sync_hook(folder):
    _, _, err = run("talker.py", "--message", "you", "--profile")
    line = PIPE[: PIPE.index("async def")].count("\n") + 1
    assert f"{line:>5}  Pipe.pipe\n" in err
    assert "-> __event_emitter__\n" in err
    slow = "import time\n\n\nclass Pipe:\n    def work(self):\n        time.sleep(0.01)\n\n    def pipe(self, body):\n        self.work()\n        return 'x'\n"
    (folder / "slow.py").write_text(slow)
    _, out, err = run("slow.py", "--message", "you", "--profile")
    assert out == "x\n"
    rows = [line.split()[2:] for line in err.splitlines() if "Pipe." in line or "->" in line][:3]
    assert rows == [["1", "8", "Pipe.pipe"], ["1", "5", "Pipe.work"], ["1", "6", "->", "time.sleep"]]


def test_a_stored_function_runs_with_its_valves_as_who_acts_and_is_noted(alice, folder):
    make_function("talker", PIPE, valves={"greeting": "Stored"})
    code, out, _ = run("talker", "--message", "you")
    assert (code, out) == (0, "Stored you dry .\n")
    noted = Run.objects.get()
    assert (noted.user, noted.kind, noted.model, noted.outcome) == (alice, "trial", "talker", "succeeded")


def test_a_file_is_not_noted(alice, folder):
    run("talker.py", "--message", "you")
    log.__init__()  # what waits is dropped, as when the command's process ends
    assert not Run.objects.exists()


def test_any_version_may_be_run(alice, folder):
    function = make_function("talker", PIPE)
    make_version(function, PIPE.replace('mark: str = "."', 'mark: str = "2"'), publish=False)
    assert run("talker", "--message", "you", "--version", "2")[1] == "Hello you dry 2\n"
    assert run("talker", "--message", "you")[1] == "Hello you dry .\n"


def test_who_may_not_configure_gets_no_stored_secrets_for_valves_of_their_own(bob, folder):
    make_function("talker", PIPE, valves={"greeting": "Secret"})
    bob.user_permissions.add(Permission.objects.get(codename="change_function"))
    assert run("talker", "--message", "you", "--user", "bob")[1] == "Secret you dry .\n"
    assert run("talker", "--message", "you", "--user", "bob", "--valves", '{"mark": "!"}')[1] == "Hello you dry !\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody"], "There is no file and no stored function 'nobody'."),
        (["talker.py", "--hook", "inlet"], "talker has no hook 'inlet'; it has pipe."),
        (["talker.py", "--version", "1"], "--version is for stored functions; a file has none."),
        (["talker.py", "--body", "[1]"], "--body must be an object."),
        (["talker.py", "--body", "{"], "--body cannot be read: "),
        (["talker.py", "--valves", "[]"], "--valves must be an object."),
        (["talker.py", "--answers", "{}"], "--answers must be a list."),
        (["talker.py", "--valves", "missing.json"], "--valves is neither JSON nor a file that can be read: "),
        (["missing.py"], "missing.py: missing.py cannot be read: No such file or directory."),
    ],
)
def test_a_wrong_call_ends_with_2(folder, arguments, sentence):
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert caught.value.returncode == 2
    assert str(caught.value).startswith(sentence)


def test_who_acts_needs_the_permission_to_author(bob, folder):
    with pytest.raises(CommandError, match="This needs the permission"):
        run("talker.py", "--user", "bob")
