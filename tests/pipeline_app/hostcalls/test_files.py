"""Files that functions make, change and delete: the caller's own."""

from __future__ import annotations

import base64
import uuid

import pytest

from functions_app.models import File
from tests.pipeline_app.hostcalls.conftest import refusal

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(20)


def made(ask, who, content=b"hello", **given):
    id = given.pop("id", None) or str(uuid.uuid4())
    text = base64.b64encode(content).decode()
    return ask(who, "files.create", **{"id": id, "name": "notes.txt", "content": text, **given})


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def test_a_file_is_stored_under_the_id_that_the_function_chose(ask, alice, bob):
    id = str(uuid.uuid4())
    told = made(ask, bob, id=id, meta={"a": 1, "size": 99}, data={"b": 2})
    row = File.objects.get(pk=id)
    assert row.user == bob and row.size == 5
    assert (told["id"], told["user_id"], told["filename"]) == (id, str(bob.pk), "notes.txt")
    assert told["meta"] == {"a": 1, "name": "notes.txt", "content_type": "text/plain", "size": 5}
    assert told["data"] == {"status": "completed", "content": "hello", "b": 2}
    assert ask(bob, "files.get", id=id) == told and ask(alice, "files.get", id=id) is None
    assert made(ask, bob, PICTURE, name="../x.png")["meta"]["content_type"] == "image/png"


def test_no_file_is_put_over_another(ask, alice, bob):
    id = made(ask, alice)["id"]
    assert refusal(made, ask, bob, id=id) == f"There is a file with the id {id} already; choose another."
    assert File.objects.get().user == alice
    assert refusal(made, ask, bob, id="../../etc/passwd") == (
        "The id of a file is a UUID, such as str(uuid.uuid4()) makes one."
    )
    assert refusal(ask, bob, "files.create", id=id, name="x", content="no base64!") == (
        "'content' of files.create must be text in base64."
    )


def test_the_settings_for_uploads_hold_for_functions(ask, bob, settings):
    settings.FUNCTIONS_FILE_TYPES = ["image/*"]
    assert "this server takes image/*" in refusal(made, ask, bob)
    settings.FUNCTIONS_FILES_PER_USER_MB = 0.001
    assert "Your files would take more than the 0.001 MB" in refusal(made, ask, bob, PICTURE, name="x.png")
    assert not File.objects.exists()


def test_facts_are_merged_and_what_the_server_knows_stays(ask, alice, bob):
    id = made(ask, bob, meta={"a": 1}, data={"content": "older"})["id"]
    told = ask(
        bob, "files.change", id=id, name="b.txt", meta={"size": 7, "c": "\x00"}, data={"content": "text", "n": 1}
    )
    assert told["meta"] == {"a": 1, "c": "\ufffd", "name": "b.txt", "content_type": "text/plain", "size": 5}
    assert (told["filename"], told["data"]) == ("b.txt", {"status": "completed", "content": "text", "n": 1})
    assert ask(bob, "files.change", id=id)["filename"] == "b.txt"
    assert ask(alice, "files.change", id=id, name="mine.txt") is None
    assert ask(bob, "files.change", id="nothing", name="x") is None


def test_facts_do_not_grow_without_end(ask, bob):
    id = made(ask, bob)["id"]
    ask(bob, "files.change", id=id, data={"a": "x" * 200_000})
    assert refusal(ask, bob, "files.change", id=id, data={"b": "x" * 200_000}) == (
        "'meta' and 'data' of a file are each an object of at most 262144 characters as JSON."
    )
    assert "b" not in ask(bob, "files.get", id=id)["data"]


def test_a_file_is_deleted_with_its_content_by_its_owner(ask, alice, bob, django_capture_on_commit_callbacks):
    id = made(ask, bob)["id"]
    name, storage = File.objects.get().content.name, File.objects.get().content.storage
    assert ask(alice, "files.delete", id=id) is False and File.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        assert ask(bob, "files.delete", id=id) is True
    assert not File.objects.exists() and not storage.exists(name)
    assert ask(bob, "files.delete", id=id) is False
