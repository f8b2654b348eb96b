"""Files that a request names by id become the items that functions expect; bob's are bob's."""

from __future__ import annotations

import json
import uuid

import pytest
from django.core.files.base import ContentFile

from functions_app.models import File
from functions_app.models.file import TEXT_MOST
from pipeline_app.models import ApiKey
from tests.builders import make_function
from tests.pipeline_app.conftest import API

SEES = "import json\nreturn json.dumps([__files__, __metadata__['files']])"


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def sees(pipe):
    return pipe("sees", SEES, signature="self, body, __files__, __metadata__")


def stored(user, name: str = "notes.txt", content: bytes = b"hello") -> File:
    return File.objects.store(user, name, ContentFile(content), len(content))


def test_an_id_becomes_the_whole_item(bobs_api, bob, sees):
    row = stored(bob)
    for item in ({"type": "file", "id": str(row.pk)}, {"id": str(row.pk).upper(), "name": "claimed", "extra": 1}):
        files, metadata = json.loads(bobs_api.chat("sees", files=[item]).content)
        assert files == metadata
        assert files[0] | {"extra": 1} == {
            "type": "file",
            "id": str(row.pk),
            "url": f"/api/v1/files/{row.pk}",
            "name": "notes.txt",
            "file": {**row.to_wire(), "data": {"status": "completed", "content": "hello"}},
            "status": "uploaded",
            "size": 5,
            "content_type": "text/plain",
            "extra": 1,
        }


def test_only_small_text_comes_along(bob):
    assert stored(bob).text() == "hello"
    assert stored(bob, "a.json", b'{"a": 1}').text() == '{"a": 1}'
    assert stored(bob, "a.bin", b"\0\1").text() is None
    assert stored(bob, "a.txt", b"x" * (TEXT_MOST + 1)).text() is None


def test_other_items_pass_as_the_client_sent_them(bobs_api, sees):
    items = [{"type": "image", "url": "data:,"}, {"type": "collection", "id": "x"}, {"type": "file"}, "text", None, 7]
    assert json.loads(bobs_api.chat("sees", files=items).content)[0] == items


@pytest.mark.parametrize("file_id", ["x", "", "5f0c2a56-0000-4000-8000-000000000000", "\ud800", "\0"])
def test_a_file_that_is_not_there_is_said(bobs_api, sees, file_id):
    body = {"model": "sees", "messages": [{"role": "user", "content": "hi"}]}
    text = json.dumps({**body, "files": [{"type": "image"}, {"id": file_id}]})
    answer = bobs_api.request("POST", "/v1/chat/completions", content=text)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "file_not_found", "files[1]")


def test_nobody_sends_somebody_elses_file_along_not_even_an_admin(api, bob, sees):
    answer = api.chat("sees", files=[{"id": str(stored(bob).pk)}])
    assert answer.status == 404 and "you have no file" in answer.error["message"]


def test_a_key_without_the_scope_sends_no_files(bob, bobs_api, sees):
    narrow = API(ApiKey.objects.issue(bob, "chat", ["models"])[1])
    answer = narrow.chat("sees", files=[{"id": str(stored(bob).pk)}])
    assert (answer.status, answer.error["param"]) == (403, "files")
    assert narrow.chat("sees", files=[{"type": "image"}]).status == 200


def test_too_many_files_are_refused(bobs_api, sees):
    answer = bobs_api.chat("sees", files=[{"id": str(uuid.uuid4())}] * 51)
    assert (answer.status, answer.error["code"]) == (400, "too_many_files")


def test_actions_and_trials_get_them_too(api, alice, pipe):
    row = stored(alice)
    make_function(
        "press", "class Action:\n    async def action(self, body, __files__):\n        return __files__[0]['name']\n"
    )
    files = [{"type": "file", "id": str(row.pk)}]
    pressed = api.post("/api/chat/actions/press", {"files": files})
    assert pressed.json.get("result") == "notes.txt", pressed.text
    pipe("names", "return __files__[0]['name'] + body['messages'][0]['content']", signature="self, body, __files__")
    body = {"messages": [{"role": "user", "content": "!"}]}
    tried = api.post("/api/v1/functions/id/names/run", {"hook": "pipe", "body": body, "files": files})
    assert tried.json["result"]["content"] == "notes.txt!"
