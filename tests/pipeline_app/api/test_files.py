"""Files over HTTP: bob keeps his, alice looks after everybody's."""

from __future__ import annotations

import hashlib
import socket
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from functions_app.models import File
from pipeline_app.models import ApiKey
from tests.pipeline_app.conftest import API

FILES = "/api/v1/files/"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10


@pytest.fixture(autouse=True)
def storage(settings, tmp_path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "files"
    return settings.MEDIA_ROOT


def upload(api: API, name: str = "notes.txt", content: bytes = b"hello", **given):
    return api.request("POST", given.pop("path", FILES), files={"file": (name, content)}, **given)


def stored_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- Uploading ------------------------------------------------------------------------------------------


def test_an_upload_comes_back_as_it_was(bobs_api, bob, storage):
    made = upload(bobs_api, path=FILES + "?process=false").json
    assert made["status"] is True
    assert (made["filename"], made["user_id"]) == ("notes.txt", str(bob.pk))
    assert made["meta"] == {"name": "notes.txt", "content_type": "text/plain", "size": 5}
    assert made["hash"] == hashlib.sha256(b"hello").hexdigest()
    del made["status"]
    assert bobs_api.get(FILES + made["id"]).json == made
    assert bobs_api.get(FILES).json == {"items": [made], "total": 1}
    content = bobs_api.get(FILES + made["id"] + "/content")
    assert (content.status, content.text) == (200, "hello")
    assert bobs_api.get(FILES + made["id"] + "/content/notes.txt").text == "hello"
    assert stored_under(storage) == [made["id"]]


def test_a_large_upload_is_neither_read_nor_answered_in_one_piece(bobs_api, storage):
    content = bytes(range(256)) * 20_000  # 5 MB
    made = upload(bobs_api, "data.bin", content).json
    assert made["hash"] == hashlib.sha256(content).hexdigest()
    assert bobs_api.get(FILES + made["id"] + "/content").response.content == content


def test_an_upload_may_be_larger_than_other_bodies(bobs_api, settings):
    settings.FUNCTIONS_MAX_BODY = 100
    assert upload(bobs_api, content=b"x" * 10_000).status == 200
    assert bobs_api.post("/v1/chat/completions", {"model": "x" * 200}).status == 413


def test_a_name_is_cleaned(bobs_api):
    assert upload(bobs_api, "../../etc/pass\u202ewd").json["filename"] == "passwd"
    assert upload(bobs_api, "Grüße 猫.txt").json["filename"] == "Grüße 猫.txt"
    assert len(upload(bobs_api, "x" * 800 + ".txt").json["filename"]) <= 255


def test_an_empty_file_is_a_file(bobs_api):
    made = upload(bobs_api, content=b"").json
    assert made["meta"]["size"] == 0
    assert bobs_api.get(FILES + made["id"] + "/content").response.content == b""


@pytest.mark.parametrize(
    ("given", "status", "sentence"),
    [
        ({"json": {"file": "x"}}, 415, "multipart/form-data"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "can't be read"),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, "The form is empty"),
        (
            {"content": b"--b--", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            400,
            "fields are: none",
        ),
        ({"files": {"other": ("a.txt", b"x")}}, 400, "its fields are: other"),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"y"))]}, 400, "one file"),
        ({"data": {"file": "text"}, "files": {"x": ("", b"")}}, 400, "one file"),
    ],
)
def test_a_body_that_is_no_form_with_one_file_is_refused_with_a_sentence(bobs_api, storage, given, status, sentence):
    answer = bobs_api.request("POST", FILES, **given)
    assert (answer.status, answer.error["code"]) == (status, "invalid_form")
    assert sentence in answer.error["message"]
    assert answer.json["detail"] == answer.error["message"]
    assert stored_under(storage) == [] and not File.objects.exists()


@pytest.mark.parametrize("query", ["process=perhaps", "page=0", "page=-1", "page=x", "page=99999999999", "content=7"])
def test_a_query_that_means_nothing_is_refused(bobs_api, query):
    method = "POST" if query.startswith("process") else "GET"
    assert (
        bobs_api.request(method, f"{FILES}?{query}", files={"file": ("a", b"")} if method == "POST" else None).status
        == 400
    )


# --- Limits ---------------------------------------------------------------------------------------------


def test_a_file_beyond_the_limit_is_refused_and_leaves_nothing(bobs_api, settings, storage):
    settings.FUNCTIONS_FILE_MB = 0.1
    for size in (110_000, 1_000_000):  # seen after it was read, and before
        answer = upload(bobs_api, content=b"x" * size)
        assert (answer.status, answer.error["code"]) == (413, "file_too_large")
        assert "0.1 MB (FUNCTIONS_FILE_MB)" in answer.error["message"]
    assert stored_under(storage) == [] and not File.objects.exists()


def test_only_types_on_the_list_are_taken_whatever_the_client_says_of_them(bobs_api, settings):
    settings.FUNCTIONS_FILE_TYPES = ["image/*", ".md"]
    assert upload(bobs_api, "a.png", PNG).status == 200
    assert upload(bobs_api, "a.md", b"# hello").status == 200
    answer = bobs_api.request("POST", FILES, files={"file": ("a.png", b"<script>", "image/png")})
    assert (answer.status, answer.error["code"]) == (415, "file_type")
    assert answer.error["message"] == (
        "'a.png' is application/octet-stream, by its content and name; "
        "this server takes image/*, .md (FUNCTIONS_FILE_TYPES)."
    )


def test_a_user_has_a_share_that_deleting_gives_back(bobs_api, api, settings):
    settings.FUNCTIONS_FILES_PER_USER_MB = 0.1
    first = upload(bobs_api, content=b"x" * 60_000).json["id"]
    answer = upload(bobs_api, content=b"x" * 60_000)
    assert (answer.status, answer.error["code"]) == (413, "quota_exceeded")
    assert "0.1 MB" in answer.error["message"]
    assert upload(api, content=b"x" * 60_000).status == 200
    assert bobs_api.request("DELETE", FILES + first).status == 200
    assert upload(bobs_api, content=b"x" * 60_000).status == 200


def test_empty_files_count_towards_the_share(bobs_api, settings):
    settings.FUNCTIONS_FILES_PER_USER_MB = 10 * 4096 / 1024 / 1024
    statuses = [upload(bobs_api, content=b"").status for _ in range(11)]
    assert statuses == [200] * 10 + [413]


def test_without_a_share_there_is_no_limit(bobs_api, settings):
    settings.FUNCTIONS_FILES_PER_USER_MB = 0
    assert upload(bobs_api).status == 200


# --- Whose they are ---------------------------------------------------------------------------------------


def test_files_are_their_owners_and_those_who_may_view_files_see_all(bobs_api, api):
    own, other = upload(bobs_api).json["id"], upload(api, "private.txt").json["id"]
    assert [item["id"] for item in bobs_api.get(FILES).json["items"]] == [own]
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = bobs_api.request(method, FILES + other + path)
        assert (answer.status, answer.error["code"]) == (404, "file_not_found")
        assert answer.error["message"] == f"There is no file '{other}' that you may see."
    assert api.get(FILES).json["total"] == 2
    assert api.get(FILES + own + "/content").text == "hello"
    assert api.request("DELETE", FILES + own).status == 200


def test_who_may_view_files_may_not_delete_them_for_that(bob, bobs_api, api, changed):
    from django.contrib.auth.models import Permission

    other = upload(api).json["id"]
    bob.user_permissions.add(Permission.objects.get(codename="view_file"))
    changed()
    assert bobs_api.get(FILES + other).status == 200
    answer = bobs_api.request("DELETE", FILES + other)
    assert answer.status == 403 and "functions_app.delete_file" in answer.error["message"]


@pytest.mark.parametrize("file_id", ["x", "%00", "0" * 300, "5f0c2a56-0000-4000-8000-000000000000", "%ED%A0%80"])
def test_an_id_that_names_no_file_is_not_found(bobs_api, file_id):
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert bobs_api.request(method, FILES + file_id + path).status == 404


def test_every_door_wants_a_key_with_the_scope_of_somebody_who_may_use_functions(bob, bobs_api, settings, changed):
    file_id = upload(bobs_api).json["id"]
    narrow = API(ApiKey.objects.issue(bob, "models", ["models"])[1])
    files = {"file": ("a.txt", b"x")}
    doors = [("GET", FILES, None), ("POST", FILES, files), ("GET", FILES + file_id, None)]
    doors += [("GET", FILES + file_id + "/content", None), ("DELETE", FILES + file_id, None)]
    for method, path, given in doors:
        assert API(None).request(method, path, files=given).status == 401
        assert narrow.request(method, path, files=given).status == 403
    settings.FUNCTIONS_EVERYBODY = []
    changed()
    for method, path, given in doors:
        assert bobs_api.request(method, path, files=given).status == 403
    assert File.objects.count() == 1


# --- Content ----------------------------------------------------------------------------------------------


def test_a_browser_is_given_nothing_that_could_run(bobs_api):
    for name, content in (("a.html", b"<script>"), ("a.svg", b"<svg/>"), ("a.png", b"<script>"), ("a.js", b"alert(1)")):
        answer = bobs_api.get(FILES + upload(bobs_api, name, content).json["id"] + "/content")
        assert answer.headers["Content-Disposition"].startswith("attachment; ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_picture_is_shown_and_may_be_downloaded(bobs_api):
    path = FILES + upload(bobs_api, "Grün.png", PNG).json["id"] + "/content"
    answer = bobs_api.get(path)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == "inline; filename=\"Gr_n.png\"; filename*=UTF-8''Gr%C3%BCn.png"
    assert bobs_api.get(path + "?attachment=true").headers["Content-Disposition"].startswith("attachment; ")


@pytest.mark.parametrize(
    ("asked", "status", "content", "said"),
    [
        ("bytes=1-3", 206, b"ell", "bytes 1-3/5"),
        ("bytes=3-", 206, b"lo", "bytes 3-4/5"),
        ("bytes=-2", 206, b"lo", "bytes 3-4/5"),
        ("bytes=0-99", 206, b"hello", "bytes 0-4/5"),
        ("bytes=-99", 206, b"hello", "bytes 0-4/5"),
        ("bytes=5-", 416, None, "bytes */5"),
        ("bytes=-0", 416, None, "bytes */5"),
        ("bytes=0-0,2-2", 200, b"hello", None),
        ("bytes=3-1", 200, b"hello", None),
        ("lines=1-2", 200, b"hello", None),
    ],
)
def test_a_part_of_a_file_is_answered_as_asked(bobs_api, asked, status, content, said):
    path = FILES + upload(bobs_api).json["id"] + "/content"
    answer = bobs_api.get(path, headers={"Range": asked})
    assert (answer.status, answer.headers.get("Content-Range")) == (status, said)
    if content is not None:
        assert answer.response.content == content


def test_what_a_client_has_already_is_not_sent_again(bobs_api):
    path = FILES + upload(bobs_api).json["id"] + "/content"
    tag = bobs_api.get(path).headers["ETag"]
    assert bobs_api.get(path, headers={"If-None-Match": tag}).status == 304
    assert bobs_api.get(path, headers={"Range": "bytes=1-1", "If-Range": tag}).text == "e"
    assert bobs_api.get(path, headers={"Range": "bytes=1-1", "If-Range": '"other"'}).text == "hello"


def test_a_content_that_the_storage_lost_is_a_sentence(bobs_api, storage):
    file_id = upload(bobs_api).json["id"]
    (storage / "uploads" / file_id).unlink()
    answer = bobs_api.get(FILES + file_id + "/content")
    assert (answer.status, answer.error["code"]) == (404, "content_missing")


def test_a_deleted_file_takes_its_content_along(bobs_api, storage, django_capture_on_commit_callbacks):
    file_id = upload(bobs_api).json["id"]
    with django_capture_on_commit_callbacks(execute=True):
        assert bobs_api.request("DELETE", FILES + file_id).json == {"message": "File deleted successfully"}
    assert stored_under(storage) == [] and bobs_api.get(FILES + file_id).status == 404


# --- What goes wrong ----------------------------------------------------------------------------------------


def test_an_upload_that_the_storage_refuses_leaves_no_row(bobs_api, storage, monkeypatch):
    from django.core.files.storage import FileSystemStorage

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    assert upload(bobs_api).status == 507
    assert not File.objects.exists()


def test_an_upload_that_a_crash_cut_short_is_never_seen_and_cleared_with_the_next(bobs_api, bob, storage):
    begun = File.objects.create(user=bob, name="cut.txt", size=3)
    begun.content.storage.save(f"uploads/{begun.pk}", ContentFile(b"cut"))
    assert bobs_api.get(FILES).json == {"items": [], "total": 0}
    assert bobs_api.get(FILES + str(begun.pk)).status == 404
    upload(bobs_api)
    assert File.objects.filter(pk=begun.pk).exists()  # it might still be under way
    File.objects.filter(pk=begun.pk).update(created_at=timezone.now() - timedelta(hours=2))
    upload(bobs_api)
    assert not File.objects.filter(pk=begun.pk).exists()
    assert str(begun.pk) not in stored_under(storage)


def test_a_real_server_takes_uploads_in_pieces_and_survives_clients_that_leave(start_server):
    server = start_server(FUNCTIONS_FILE_MB="2")
    server.manage("createsuperuser", "--no-input", "--username", "alice", "--email", "a@example.org", check=False)
    server.manage(
        "shell",
        "-c",
        "from functions_app.models import User; User.objects.get_or_create(username='alice', is_superuser=True)",
    )
    key = server.manage("create_api_key", "alice")
    headers = {"Authorization": f"Bearer {key}"}

    def pieces():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 10_000
        yield b"\r\n--b--\r\n"

    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        made = client.post(FILES, content=pieces(), headers=form).json()  # chunked, without a length
        assert made["meta"]["size"] == 1_000_000
        assert client.get(f"{FILES}{made['id']}/content").content == b"x" * 1_000_000
        large = client.post(FILES, files={"file": ("large", b"x" * 5_000_000)})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "file_too_large")
        assert (
            client.post(FILES, files={"file": ("a", b"x" * 1_000_000)}, headers={"Authorization": "x"}).status_code
            == 401
        )

        with socket.create_connection(("127.0.0.1", server.port)) as cut:
            head = f"POST {FILES} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            cut.sendall(
                f"{head}Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 900000\r\n\r\nxxx".encode()
            )
        assert client.get(FILES).json()["total"] == 1
        assert client.post(FILES, files={"file": ("b", b"y")}).status_code == 200
    assert "Traceback" not in server.log
