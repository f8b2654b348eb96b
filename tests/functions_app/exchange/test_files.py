from __future__ import annotations

import os

import pytest

from functions_app.exchange.entries import Entry
from functions_app.exchange.files import files_of, read_file, read_folder, read_path, write_folder
from tests.functions_app.sources import OTHER_PIPE, PIPE

TOLD = {
    "id": "hello",
    "name": "Hello",
    "content": "# a\r\n\ufeff\n" + PIPE,
    "meta": {"description": "Says it.", "manifest": {}, "toggle": False, "tags": ["a"]},
    "is_active": True,
    "is_global": False,
    "created_at": 1_795_602_599,
    "policy": {"memory_mb": 256},
}


def problem(path, root=None):
    found = read_file(path, root)
    assert not isinstance(found, Entry), found
    return str(found)


def test_a_file_alone_has_its_name_as_its_id(tmp_path):
    path = tmp_path / "My-Pipe.py"
    path.write_text(PIPE)
    assert read_path(path) == [Entry("My-Pipe.py", "my_pipe", PIPE)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.toml", 'id = "sized"\nname = "Sized"\nis_active = true\ndescription = "D."\n[meta]\na = 1\n[valves]\nb = 2\n'),
        ("x.json", '{"id": "sized", "name": "Sized", "is_active": true, "description": "D.", "meta": {"a": 1}, "valves": {"b": 2}}'),
    ],
)  # fmt: skip
def test_a_sidecar_says_the_rest(tmp_path, name, text):
    (tmp_path / "x.py").write_text(PIPE)
    (tmp_path / name).write_text(text)
    entry = read_file(tmp_path / "x.py")
    assert entry == Entry("x.py", "sized", PIPE, "Sized", {"a": 1, "description": "D."}, True, None, {"b": 2})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.toml", "colour = 1", "x.py: x.toml has unknown keys (colour); it may have created_at, description, id, "),
        ("x.toml", "id = ", "x.py: x.toml is no TOML: Invalid value (at "),
        ("x.toml", "meta = 1", "x.py: meta in x.toml must be a table, not int."),
        ("x.toml", "[meta]\na = 2026-01-01", "x (x.py): meta holds 2026-01-01, a date, which JSON does not have; write text."),
        ("x.json", "[]", "x.py: x.json must hold an object, not list."),
        ("x.json", "{", "x.py: This is not an export file: it is not JSON ("),
    ],
)  # fmt: skip
def test_a_wrong_sidecar_is_said(tmp_path, name, text, message):
    (tmp_path / "x.py").write_text(PIPE)
    (tmp_path / name).write_text(text)
    assert problem(tmp_path / "x.py").startswith(message)


def test_two_sidecars_are_one_too_many(tmp_path):
    for name in ("x.py", "x.toml", "x.json"):
        (tmp_path / name).write_text("")
    assert problem(tmp_path / "x.py") == "x.py: There are both x.toml and x.json; keep one of them."


def test_a_file_that_is_no_text_is_said(tmp_path):
    (tmp_path / "x.py").write_bytes(b"ab\xff\xfe")
    assert problem(tmp_path / "x.py") == "x.py: x.py is not UTF-8 text (invalid start byte at byte 2)."


def test_sources_are_read_to_the_byte(tmp_path):
    source = "\ufeff# a\r\nclass Pipe: pass\r"
    (tmp_path / "x.py").write_bytes(source.encode())
    assert read_file(tmp_path / "x.py").source == source


def test_a_huge_file_is_refused(tmp_path, settings):
    settings.FUNCTIONS_MAX_BODY = 100
    (tmp_path / "x.py").write_text("#" * 101)
    assert problem(tmp_path / "x.py") == "x.py: x.py is larger than the 100 bytes that are read."


def test_links_may_lead_about_in_the_folder_but_not_out_of_it(tmp_path):
    (tmp_path / "secret.py").write_text(PIPE)
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "a.py").write_text(PIPE)
    (folder / "b.py").symlink_to("a.py")
    (folder / "c.py").symlink_to("../secret.py")
    (folder / "d.py").symlink_to("d.py")
    (folder / "e.py").write_text(PIPE)
    (folder / "e.toml").symlink_to(tmp_path / "secret.py")
    found = read_folder(folder)
    assert [one.id for one in found if isinstance(one, Entry)] == ["a", "b"]
    assert [str(one) for one in found if not isinstance(one, Entry)] == [
        "c.py: c.py is a link that leaves the folder; put the file itself there.",
        "d.py: d.py cannot be read: it is a link that leads to itself.",
        "e.py: e.toml is a link that leaves the folder; put the file itself there.",
    ]


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.py")
    (tmp_path / "b.py").mkdir()
    assert [str(one) for one in read_folder(tmp_path)] == [
        "a.py: a.py is not an ordinary file.",
        "b.py: b.py is not an ordinary file.",
    ]


def test_ids_that_are_the_same_in_lower_case_are_said(tmp_path):
    (tmp_path / "Hello.py").write_text(PIPE)
    (tmp_path / "hello.py").write_text(OTHER_PIPE)
    first, second = read_folder(tmp_path)
    assert isinstance(first, Entry)
    assert str(second) == "hello (hello.py): This id is there twice: Hello.py and hello.py."


def test_other_files_of_a_folder_are_passed_over(tmp_path):
    for name in ("__init__.py", ".hidden.py", "README.md", "pyproject.toml", "package.json"):
        (tmp_path / name).write_text("{")
    (tmp_path / "folder").mkdir()
    assert read_folder(tmp_path) == []


def test_a_folder_is_written_and_read_back_identically(tmp_path):
    others = [
        {**TOLD, "id": "_odd", "valves": {"a": None, "b": [1]}},
        {**TOLD, "id": "é" * 150, "meta": {"description": None}, "policy": {}},
    ]
    (tmp_path / "stranger.py").write_text(PIPE)
    count, strangers = write_folder(tmp_path, [TOLD, *others])
    assert (count, strangers) == (3, ["stranger.py"])
    (tmp_path / "stranger.py").unlink()
    found = {one.id: one for one in read_folder(tmp_path)}
    assert found.keys() == {"hello", "_odd", "é" * 150}
    for told in [TOLD, *others]:
        entry = found[told["id"]]
        assert isinstance(entry, Entry)
        assert (entry.source, entry.name, entry.policy) == (told["content"], told["name"], told["policy"])
        assert (entry.is_active, entry.is_global, entry.valves) == (True, False, told.get("valves"))
        assert int(entry.created_at.timestamp()) == told["created_at"]
    assert found["hello"].meta == {"description": "Says it.", "tags": ["a"]}
    assert found["é" * 150].meta == {}


def test_a_new_export_replaces_what_an_earlier_one_left(tmp_path):
    write_folder(tmp_path, [{**TOLD, "valves": {"a": None}}])
    assert sorted(os.listdir(tmp_path)) == ["hello.json", "hello.py"]
    write_folder(tmp_path, [TOLD])
    assert sorted(os.listdir(tmp_path)) == ["hello.py", "hello.toml"]


def test_a_sidecar_is_pleasant_to_read():
    (_, source), (name, sidecar) = files_of(TOLD)
    assert source == TOLD["content"].encode()
    assert name == "hello.toml"
    assert sidecar.decode() == (
        'name = "Hello"\nis_active = true\nis_global = false\ndescription = "Says it."\ncreated_at = 1795602599\n'
        '\n[policy]\nmemory_mb = 256\n\n[meta]\ntags = ["a"]\n'
    )
