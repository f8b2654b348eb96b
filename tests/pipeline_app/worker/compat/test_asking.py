"""What asks the server or the client: uploads, pictures, memories, events, as a hook uses them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pipeline_app.worker.hosts import Host, HostError
from tests.pipeline_app.worker.helpers import USER, items, loaded

PICTURE = base64.b64encode(b"\x89PNG").decode()


class Server(Host):
    """A server that keeps files and memories of one user."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.memories: list[dict[str, Any]] = []
        self.full = False

    def _answer(self, method, params):
        match method:
            case "files.create" if self.full:
                raise HostError("There is no room for it.")
            case "files.create":
                self.contents[params["id"]] = base64.b64decode(params["content"])
                return self._file(params)
            case "files.change":
                return self._file({**self.files[params["id"]], **params})
            case "files.get":
                return self.files.get(params["id"])
            case "files.read":
                whole = self.contents[params["id"]]
                return base64.b64encode(whole[params["offset"] : params["offset"] + params["length"]]).decode()
            case "memories.list":
                return self.memories
            case "memories.create":
                made = {**params, "id": f"m{len(self.memories)}", "created_at": 1, "updated_at": 1}
                self.memories.append(made)
                return made
            case "memories.change" | "memories.delete":
                return None
        raise HostError(f"No {method}.")

    def _file(self, params):
        made = {
            "user_id": "u1",
            "hash": None,
            "created_at": 1,
            "updated_at": 1,
            "filename": params.get("filename") or params.get("name"),
            **params,
            "path": f"uploads/{params['id']}",
        }
        made.pop("content", None)
        made["meta"] = {**(params.get("meta") or {}), "size": len(self.contents[params["id"]])}
        self.files[params["id"]] = made
        return made

    async def call(self, method, params):
        return self._answer(method, params)

    def call_sync(self, method, params):
        return self._answer(method, params)

    async def parts(self, method, params):
        yield self._answer(method, params)


@pytest.fixture
def run(webui):
    """Runs the body of a pipe; returns what it says, and the server it asked."""

    def running(body: str, server: Server | None = None, **given: Any) -> tuple[list[Any], Server]:
        lines = "\n".join(f"        {line}" for line in body.strip("\n").split("\n"))
        source = f"class Pipe:\n    async def pipe(self, body, __user__, __request__=None):\n{lines}\n"
        server = server or Server()
        context = {"user": USER, "request": {"headers": []}, **given}
        return items(loaded(source), {}, context, host=server), server

    return running


UPLOAD = """
import io
from fastapi import HTTPException, UploadFile
from starlette.datastructures import Headers
from open_webui.models.users import UserModel
from open_webui.routers.files import upload_file_handler, upload_file
user = UserModel(**__user__)
def upload(kind="text/plain"):
    return UploadFile(io.BytesIO(b"hello"), filename="a/b.txt", headers=Headers({"content-type": kind}))
"""


def test_an_upload_becomes_a_file_of_the_callers(run):
    said, server = run(
        UPLOAD
        + """
stored = await upload_file_handler(__request__, file=upload(), metadata={"x": 1}, process=False, user=user)
assert (stored.filename, stored.meta["content_type"], stored.meta["data"]) == ("b.txt", "text/plain", {"x": 1})
whole = await upload_file_handler(__request__, upload(), user=__user__)
assert whole["status"] is True and whole["data"]["content"] == "hello" and whole["id"] != stored.id
older = await upload_file(__request__, upload("image/png"), user)
assert "content" not in (older.get("data") or {})
return stored.id
"""
    )
    assert server.contents[said[0]] == b"hello"
    assert [file["data"].get("content") for file in server.files.values()] == [None, "hello", None]


def test_an_upload_that_is_not_kept_is_an_http_exception(run):
    server = Server()
    server.full = True
    code = """
try:
    await upload_file_handler(__request__, upload(), user=user)
except HTTPException as error:
    return f"{error.status_code} {error.detail}"
"""
    assert run(UPLOAD + code, server)[0] == ["400 Error uploading file: There is no room for it."]


def test_a_content_is_kept_until_it_is_stored(run):
    said, server = run("""
import io, os, uuid
from open_webui.models.files import Files, FileForm
from open_webui.storage.provider import Storage, get_storage_provider
id = str(uuid.uuid4())
content, path = Storage.upload_file(io.BytesIO(b"hello"), f"{id}_a.txt", {"x": "y"})
assert content == b"hello" and Storage.get_file(path) == path and get_storage_provider("local") is Storage
file = Files.insert_new_file(__user__["id"], FileForm(id=id, filename="a.txt", path=path, meta={"name": "a.txt"}))
Storage.delete_file(path)
Storage.delete_file(path)
assert not os.path.exists(path)
with open(Storage.get_file(file.path), "rb") as stored:
    assert stored.read() == b"hello"
try:
    Storage.upload_file(io.BytesIO(b""), "empty")
except ValueError as error:
    return str(error)
""")
    assert said == ["The content of the file is empty."]
    assert list(server.contents.values()) == [b"hello"]


def test_pictures_are_stored_and_read_again(run):
    said, server = run(f"""
from open_webui.routers.images import upload_image, get_image_data, load_b64_image_data
from open_webui.utils.files import get_image_url_from_base64, get_image_base64_from_url, convert_markdown_base64_images
content, kind = await get_image_data("data:image/png;base64,{PICTURE}")
assert (content, kind) == (b"\\x89PNG", "image/png"), (content, kind)
assert await get_image_data("{PICTURE}") == (b"\\x89PNG", "image/png")
assert await load_b64_image_data("no picture") == (None, None)
file, picture = await upload_image(__request__, content, kind, {{}}, __user__)
assert picture == picture["url"] == f"/api/v1/files/{{file.id}}/content" and picture["id"] == picture.get("id") == file.id
assert file.filename == "generated-image.png"
url = await get_image_url_from_base64(__request__, "data:image/png;base64,{PICTURE}", {{}}, __user__)
assert await get_image_base64_from_url(url) == "data:image/png;base64,{PICTURE}"
text = await convert_markdown_base64_images(__request__, "a ![x](data:image/png;base64,{PICTURE}) b", {{}}, __user__)
assert text.startswith("a ![x](/api/v1/files/") and text.endswith("/content) b")
return "fine"
""")
    assert said == ["fine"]
    assert set(server.contents.values()) == {b"\x89PNG"}


def test_text_of_files_is_kept_beside_them(run):
    said, _ = run(
        UPLOAD
        + """
from open_webui.routers.retrieval import process_file, ProcessFileForm
from open_webui.retrieval.utils import get_sources_from_items
stored = await upload_file_handler(__request__, upload(), process=False, user=user)
done = await process_file(__request__, ProcessFileForm(file_id=stored.id), user=user)
assert done == {"status": True, "collection_name": f"file-{stored.id}", "filename": "b.txt", "content": "hello"}
sources = await get_sources_from_items(__request__, [{"type": "file", "id": stored.id, "name": "b.txt"}], ["q"])
return sources[0]["document"][0]
"""
    )
    assert said == ["hello"]


def test_memories_are_found_by_the_words_they_share(run):
    said, server = run("""
from fastapi import HTTPException
from open_webui.models.users import UserModel
from open_webui.routers.memories import add_memory, query_memory, AddMemoryForm, QueryMemoryForm, Memories
user = UserModel(**__user__)
try:
    await query_memory(__request__, QueryMemoryForm(content="x"), user)
except HTTPException as error:
    assert error.status_code == 404
await add_memory(__request__, AddMemoryForm(content="The user likes green tea"), user)
add_memory(request=__request__, form_data=AddMemoryForm(content="The user lives in Bern"), user=user)
found = await query_memory(__request__, QueryMemoryForm(content="Which tea does the user drink?", k=2), user)
assert found.documents == [["The user likes green tea", "The user lives in Bern"]], found
assert found.distances[0][0] > found.distances[0][1]
return found.ids[0][0]
""")
    assert said == ["m0"]
    assert [memory["content"] for memory in server.memories] == ["The user likes green tea", "The user lives in Bern"]


def test_events_by_other_ways_reach_the_hooks_own_client(run):
    said, _ = run(
        """
from open_webui.socket.main import get_event_emitter, get_event_call, sio
emitter = await get_event_emitter({"chat_id": "c", "user_id": "somebody else"})
await emitter({"type": "status", "data": 1})
await get_event_emitter({})({"type": "status", "data": 2})
await sio.emit("events", {"chat_id": "c", "data": {"type": "status", "data": 3}}, room="user:u1")
await sio.emit("events", {"data": {"type": "status", "data": 4}}, room="user:u2")
assert (await get_event_call({})({"type": "input", "data": {}})) == {"error": "Client session disconnected."}
return "fine"
""",
        session_id="s",
    )
    assert [item["data"] for item in said if isinstance(item, dict)] == [1, 2, 3]
    assert said[-1] == "fine"


def test_the_caller_is_found_as_the_current_user(run):
    code = "from open_webui.utils.auth import get_current_user\nreturn (await get_current_user()).name"
    assert run(code)[0] == ["Ann"]


def test_tasks_go_on_beside_the_hook(run):
    code = """
import asyncio
from open_webui.tasks import create_task, stop_task, list_task_ids_by_item_id
async def work():
    await asyncio.sleep(60)
id, task = await create_task(None, work(), id="chat")
assert await list_task_ids_by_item_id(None, "chat") == [id]
assert (await stop_task(None, id))["status"]
try:
    await task
except asyncio.CancelledError:
    pass
await asyncio.sleep(0)
assert list_task_ids_by_item_id("chat") == []
return str(stop_task("gone")["status"])
"""
    assert run(code)[0] == ["False"]


def test_the_application_is_one_and_its_settings_are_there(run):
    code = """
from open_webui.main import app
assert __request__.app is app and app.state.config.TASK_MODEL is None and app.state.OPENAI_MODELS == {}
app.state.config.RAG_TEMPLATE = "mine"
assert __request__.app.state.config.RAG_TEMPLATE == "mine"
del app.state.config.RAG_TEMPLATE
assert __request__.state.metadata == {"chat_id": "c"} and __request__.state.direct is False
assert await app.state.oauth_manager.get_oauth_token("u", "s") is None
try:
    await app.state.EMBEDDING_FUNCTION("x")
except NotImplementedError as error:
    return str(error)
"""
    said = "app.state.EMBEDDING_FUNCTION needs an engine for embeddings; not available here."
    assert run(code, metadata={"chat_id": "c"})[0] == [said]
