"""Checking stored functions and files on the command line."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from tests.builders import make_function, make_version
from tests.settings import CHECKOUT

GOOD = '"""\ntitle: Good\n"""\n\n\nclass Pipe:\n    def pipe(self, body):\n        return "hi"\n'
UNUSED = GOOD.replace("\n\n\nclass", "\nimport json\n\n\nclass")
WARNED = GOOD.replace("title: Good", "author: alice")
BAD = GOOD + "\n\nvalue = 1 / 0\n"

pytestmark = pytest.mark.usefixtures("base_packages")


def check(*arguments: str) -> tuple[int, str]:
    """Returns the exit code and what was printed."""
    out = StringIO()
    try:
        call_command("check_functions", *arguments, stdout=out, no_color=True)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of functions, the current one."""
    monkeypatch.chdir(tmp_path)
    for name, source in (("good", GOOD), ("unused", UNUSED), ("warned", WARNED), ("bad", BAD)):
        (tmp_path / f"{name}.py").write_text(source)
    return tmp_path


def test_good_files_end_with_0(db, folder):
    assert check("good.py", "unused.py") == (
        0,
        (
            "good.py (pipe): ok\n"
            "unused.py (pipe): 1 remark\n"
            "  unused.py:4:1: info unused-import: 'json' imported but unused.\n"
            "2 functions checked: 1 remark.\n"
        ),
    )


def test_errors_end_with_1_and_warnings_where_they_count(db, folder):
    assert check("bad.py") == (
        1,
        (
            "bad.py (pipe): 1 error\n"
            "  bad.py:11:1: error load-error: ZeroDivisionError: division by zero\n"
            "1 function checked: 1 error.\n"
        ),
    )
    assert check("warned.py")[0] == 0
    assert check("warned.py", "--strict") == (
        1,
        (
            "warned.py (pipe): 1 warning\n"
            "  warned.py:1:1: warning missing-title: The frontmatter has no title: add a line title: ...\n"
            "1 function checked: 1 warning.\n"
        ),
    )


def test_folders_are_walked_and_what_is_hidden_or_a_package_is_left_out(db, folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "other.py").write_text(GOOD)
    (folder / "deep" / "__init__.py").write_text("")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "other.py").write_text(BAD)
    (folder / "bad.py").unlink()
    code, text = check(".")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines() if not line.startswith(" ")] == [
        "deep/other.py", "good.py", "unused.py", "warned.py", "4",
    ]  # fmt: skip


def test_stored_functions_are_checked_as_they_serve(alice, folder):
    function = make_function("greeter", GOOD)
    make_version(function, BAD)
    make_function("draft", UNUSED, publish=False)
    assert check("greeter") == (0, "greeter v1 (pipe): ok\n1 function checked: all well.\n")
    assert check("--all") == (
        0,
        (
            "draft v1 (pipe): 1 remark\n"
            "  draft v1:4:1: info unused-import: 'json' imported but unused.\n"
            "greeter v1 (pipe): ok\n"
            "2 functions checked: 1 remark.\n"
        ),
    )


def test_json_for_programs(alice, folder):
    make_function("greeter", GOOD)
    code, text = check("greeter", "bad.py", "--format", "json")
    told = json.loads(text)
    assert (code, told["ok"]) == (1, False)
    assert told["functions"][0] == {"id": "greeter", "version": 1, "ok": True, "kind": "pipe", "findings": []}
    assert (told["functions"][1]["file"], told["functions"][1]["ok"]) == ("bad.py", False)
    assert told["functions"][1]["findings"][0]["code"] == "load-error"


def test_annotations_for_github(db, folder):
    (folder / "odd, name.py").write_text(GOOD.replace("def pipe(self, body)", "def pipe(self, body, token)"))
    assert check("odd, name.py", "--format", "github") == (
        1,
        (
            "::error file=odd%2C name.py,line=7,endLine=7,col=26,endColumn=31,title=unknown-argument::pipe asks for token, "
            "which is neither its payload nor a special argument. It has no default, so every call fails.\n"
        ),
    )


def test_a_file_that_cannot_be_read_is_an_error_and_the_others_are_checked(db, folder):
    (folder / "binary.py").write_bytes(b"\xff\xfe\x00")
    code, text = check("binary.py", "good.py")
    assert code == 1
    assert "binary.py: error syntax-error: binary.py is not UTF-8 text" in text
    assert "good.py (pipe): ok" in text


def test_the_samples_of_bad_functions_have_errors(db):
    code, text = check(str(CHECKOUT / "tests" / "functions" / "checked"), "--format", "json")
    assert code == 1
    assert all(not one["ok"] for one in json.loads(text)["functions"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Name functions, files or folders to check, or say --all."),
        (["good.py", "--all"], "Name functions, files or folders to check, or say --all."),
        (["nobody"], "There is no function, file or folder 'nobody'."),
        (["empty"], "There is no .py file in empty."),
    ],
)
def test_a_wrong_call_ends_with_2(db, folder, arguments, sentence):
    (folder / "empty").mkdir()
    with pytest.raises(CommandError) as caught:
        check(*arguments)
    assert (str(caught.value), caught.value.returncode) == (sentence, 2)


def test_who_acts_needs_the_permission_to_author(bob, folder):
    with pytest.raises(CommandError, match="This needs the permission"):
        check("good.py", "--user", "bob")
    bob.user_permissions.add(Permission.objects.get(codename="change_function"))
    assert check("good.py", "--user", "bob")[0] == 0
