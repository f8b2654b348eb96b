from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from functions_app.models import Function, FunctionVersion, Valves
from tests.builders import make_function, make_user
from tests.functions_app.exchange.test_git import git
from tests.functions_app.sources import NO_CLASS, NO_CLASS_ERROR, OTHER_PIPE, PIPE, with_valves

pytestmark = pytest.mark.django_db

SECRET = with_valves("size: int = 1\napi_key: str = ''")


def command(name: str, *arguments: Any) -> tuple[int, str]:
    """Runs a command in this process; returns its exit code and what it said, the error last."""
    said = io.StringIO()
    try:
        call_command(name, *map(str, arguments), stdout=said)
        code = 0
    except CommandError as error:
        said.write(f"{error}\n")
        code = error.returncode
    except SystemExit as error:
        code = int(str(error.code))
    return code, said.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A folder with two functions, one of them with a sidecar."""
    found = tmp_path / "functions"
    found.mkdir()
    (found / "hello.py").write_text(PIPE)
    (found / "sized.py").write_text(SECRET)
    (found / "sized.toml").write_text('name = "Sized"\nis_active = true\n[valves]\nsize = 3\napi_key = "sk-1"\n')
    return found


# --- import_functions -------------------------------------------------------------------------------------


def test_a_folder_is_imported(folder):
    code, said = command("import_functions", folder)
    assert (code, said) == (
        0,
        "Checking: 2\nWriting: 2\ncreated    hello  new\ncreated    sized  new, valves\n2 created\n",
    )
    assert list(Function.objects.values_list("pk", "is_active")) == [("hello", False), ("sized", True)]
    assert Valves.objects.get().values == {"size": 3, "api_key": "sk-1"}


def test_an_export_is_imported_and_its_switches_only_when_asked_for(tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"id": "a", "content": PIPE, "is_active": True}]))
    assert command("import_functions", path)[0] == 0
    assert not Function.objects.get().is_active
    assert "kept       a  exists" in command("import_functions", path, "--flags")[1]
    assert "updated    a  is_active" in command("import_functions", path, "--flags", "--overwrite")[1]
    assert Function.objects.get().is_active


def test_one_bad_file_stops_all_unless_the_others_will_do(folder):
    (folder / "bad.py").write_text(NO_CLASS)
    code, said = command("import_functions", folder, folder / "hello.py")
    assert code == 1
    assert said.splitlines()[-4:] == [
        f"refused    bad does not load: {NO_CLASS_ERROR}",
        "refused    hello (hello.py): This id is there twice: hello.py and hello.py.",
        "2 to create, 2 to refuse",
        "Nothing was changed.",
    ]
    assert "Writing" not in said
    assert not Function.objects.exists()
    code, said = command("import_functions", folder, "--partial")
    assert code == 1
    assert said.endswith("2 created, 1 refused\nSome could not be imported.\n")
    assert Function.objects.count() == 2


def test_a_dry_run_writes_nothing(folder):
    code, said = command("import_functions", folder, "--dry-run")
    assert (code, said.splitlines()[-1]) == (0, "2 to create")
    assert "Checking: 2\n" in said and "Writing" not in said
    assert not Function.objects.exists()


def test_valves_can_be_left_out(folder):
    assert command("import_functions", folder, "--no-valves")[0] == 0
    assert not Valves.objects.exists()


def test_a_path_that_is_not_there_is_wrong_usage(tmp_path):
    assert command("import_functions", tmp_path / "x") == (2, f"There is no {tmp_path / 'x'}.\n")


def test_a_function_belongs_to_who_imports_it(folder, alice):
    assert command("import_functions", folder, "--user", "alice")[0] == 0
    assert set(Function.objects.values_list("owner__username", flat=True)) == {"alice"}


@pytest.mark.parametrize("name", ["import_functions", "export_functions", "sync_functions"])
def test_bob_may_do_none_of_it(name, folder, bob):
    code, said = command(name, *([] if name == "export_functions" else [folder]), "--user", "bob")
    assert code == 1
    assert said.startswith("bob may not do this. This needs the permission ")


def test_an_author_needs_more_for_valves_and_switches(folder):
    from django.contrib.auth.models import Permission

    user = make_user("carol")
    user.user_permissions.add(Permission.objects.get(codename="change_function"))
    code, said = command("import_functions", folder, "--user", "carol")
    assert code == 1
    assert "'functions_app.publish_function'" in said and "'functions_app.change_valves'" in said
    (folder / "sized.toml").unlink()
    assert command("import_functions", folder, "--user", "carol")[0] == 0
    assert set(FunctionVersion.objects.values_list("state", flat=True)) == {"draft"}


# --- export_functions -------------------------------------------------------------------------------------


def test_an_export_is_in_open_webuis_shape_and_holds_no_secret():
    make_function("a", SECRET, valves={"size": 3, "api_key": "sk-1"})
    make_function("b", PIPE)
    code, said = command("export_functions")
    assert code == 0
    assert [list(entry) for entry in json.loads(said)] == 2 * [
        ["version_id", "id", "user_id", "name", "type", "content", "meta", "is_active", "is_global", "updated_at", "created_at"]
    ]  # fmt: skip
    (entry,) = json.loads(command("export_functions", "a", "--valves")[1])
    assert entry["valves"] == {"size": 3}


def test_an_export_to_a_file_holds_the_same(tmp_path):
    make_function("a", PIPE)
    path = tmp_path / "export.json"
    assert command("export_functions", "-o", path) == (0, "")
    assert json.loads(path.read_text()) == json.loads(command("export_functions")[1])
    assert [one.name for one in tmp_path.iterdir()] == ["export.json"]


def test_what_cannot_be_exported_is_said(tmp_path):
    assert command("export_functions", "x", "A") == (1, "There is no function a, x.\n")
    assert command("export_functions", "--format", "folder") == (2, "A folder needs a place: -o PATH.\n")
    path = tmp_path / "no" / "export.json"
    assert command("export_functions", "-o", path) == (1, f"{path} cannot be written: No such file or directory.\n")


def test_a_folder_is_the_way_there_and_back(tmp_path, sample_with_valves):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(sample_with_valves))
    assert command("import_functions", path, "--flags")[0] == 0
    Function.objects.get(pk="quiet").change_policy({"on_error": "skip"})
    before = command("export_functions", "--valves")[1]
    out = tmp_path / "out"
    code, said = command("export_functions", "--format", "folder", "--valves", "-o", out)
    assert (code, said.splitlines()[-1]) == (0, f"6 functions written to {out}.")
    assert "sk-sample" not in "".join(one.read_text() for one in out.iterdir())
    assert command("sync_functions", out, "--plan")[0] == 0
    make_function("new", PIPE)
    Function.objects.get(pk="greeter").change(name="Changed")
    Function.objects.get(pk="quiet").change_policy({"on_error": None})
    assert command("sync_functions", out)[0] == 0

    def content(text: str) -> list[Any]:
        return [{key: value for key, value in entry.items() if key != "updated_at"} for entry in json.loads(text)]

    assert content(command("export_functions", "--valves")[1]) == content(before)
    assert Function.objects.get(pk="quiet").policy == {"on_error": "skip"}


# --- sync_functions ----------------------------------------------------------------------------------------


def test_a_sync_creates_updates_and_deletes(folder):
    make_function("hello", OTHER_PIPE)
    make_function("old", PIPE)
    code, said = command("sync_functions", folder, "--plan")
    assert (code, said.splitlines()[-4:]) == (
        3,
        [
            "update     hello  code (version 2)",
            "create     sized  new, valves",
            "delete     old    missing",
            "1 to create, 1 to update, 1 to delete",
        ],
    )
    assert Function.objects.count() == 2
    code, said = command("sync_functions", folder)
    assert (code, said.splitlines()[-1]) == (0, "1 created, 1 updated, 1 deleted")
    assert list(Function.objects.values_list("pk", "live__source")) == [("hello", PIPE), ("sized", SECRET)]
    assert command("sync_functions", folder, "--plan")[0] == 0


def test_a_sync_never_overwrites_valves(folder):
    make_function("sized", SECRET, valves={"size": 9, "api_key": "sk-mine"})
    assert command("sync_functions", folder)[0] == 0
    assert Valves.objects.get().values == {"size": 9, "api_key": "sk-mine"}


def test_a_sync_may_keep_others(folder):
    make_function("old", PIPE)
    assert command("sync_functions", folder, "--keep-others")[0] == 0
    assert Function.objects.count() == 3


def test_a_sync_that_cannot_be_done_says_everything_and_does_nothing(folder):
    make_function("old", PIPE)
    (folder / "bad.py").write_text(NO_CLASS)
    (folder / "worse.py").write_bytes(b"\xff")
    code, said = command("sync_functions", folder)
    assert code == 1
    assert said.splitlines()[-4:] == [
        f"refused    bad does not load: {NO_CLASS_ERROR}",
        "refused    worse.py: worse.py is not UTF-8 text (invalid start byte at byte 0).",
        "2 to create, 1 to delete, 2 to refuse",
        "Nothing was changed.",
    ]
    assert command("sync_functions", folder, "--plan")[0] == 1
    assert Function.objects.get().pk == "old"


def test_an_empty_folder_deletes_nothing(tmp_path):
    make_function("old", PIPE)
    assert command("sync_functions", tmp_path) == (1, "There are no functions (.py files), so nothing is done.\n")
    assert command("sync_functions", tmp_path / "x") == (2, f"{tmp_path / 'x'} is no folder and no repository.\n")
    assert Function.objects.exists()


def test_a_sync_from_a_repository(folder):
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "First")
    (folder / "hello.py").write_text(OTHER_PIPE)
    code, said = command("sync_functions", folder.as_uri())
    assert (code, said.splitlines()[:2]) == (0, ["Fetching ...", "Fetching: 2 functions"])
    assert Function.objects.get(pk="hello").live.source == PIPE
    assert command("sync_functions", folder)[0] == 0
    assert Function.objects.get(pk="hello").live.source == OTHER_PIPE
    assert command("sync_functions", folder, "--ref", "main")[0] == 0
    assert Function.objects.get(pk="hello").live.source == PIPE
    code, said = command("sync_functions", "git://127.0.0.1/x")
    assert (code, said.splitlines()[-1]) == (
        1, "Repositories are fetched over https, ssh, file, not over git.",
    )  # fmt: skip
