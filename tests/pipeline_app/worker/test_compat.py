"""``open_webui`` as functions import it: awaited or not, every spelling that is about gets what it wants."""

from __future__ import annotations

import base64
import sys

import pytest

from pipeline_app.worker.hosts import Host, HostError
from tests.pipeline_app.worker.helpers import USER, items, loaded

MODEL = {
    "id": "m1",
    "user_id": "",
    "base_model_id": "echo",
    "name": "M",
    "params": {"temperature": 1},
    "meta": {"description": "d", "filterIds": ["f"]},
    "is_active": True,
    "updated_at": 1,
    "created_at": 1,
}
FILE = {
    "id": "f1",
    "user_id": "u1",
    "hash": None,
    "filename": "a.txt",
    "path": "uploads/f1",
    "data": {},
    "meta": {"size": 5},
    "created_at": 1,
    "updated_at": 1,
}


class Answers(Host):
    """A server with one user, two models and 150 files; knows how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def _answer(self, how, method, params):
        self.asked.append((how, method))
        match method, params:
            case "users.get", {"id": "u1"}:
                return USER
            case "users.get", {"id": "secret"}:
                raise HostError("This function may not ask.")
            case "users.list", {"skip": 0}:
                return {"users": [USER], "total": 1}
            case "users.list", _:
                return {"users": [], "total": 1}
            case "functions.valves", {"id": "sample"}:
                return {"size": 1}
            case "files.delete", _:
                return False
            case "models.get", {"id": "m1"}:
                return MODEL
            case "models.list", {}:
                return [MODEL, {**MODEL, "id": "echo", "base_model_id": None}]
            case "files.get", {"id": "f1"}:
                return FILE
            case "files.read", {"id": "f1", "offset": offset}:
                return base64.b64encode(b"hello"[offset : offset + 3]).decode()
            case "files.list", {"skip": skip, "limit": limit}:
                return {"items": [{**FILE, "id": f"f{n}"} for n in range(skip, min(150, skip + limit))], "total": 150}
        return None

    async def call(self, method, params):
        return self._answer("awaited", method, params)

    def call_sync(self, method, params):
        return self._answer("sync", method, params)

    async def parts(self, method, params):
        yield self._answer("parts", method, params)


@pytest.fixture(autouse=True)
def forget_the_package():
    """Other tests bring packages of that name of their own."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "open_webui"]:
        del sys.modules[name]


HEAD = """
import asyncio, concurrent.futures, inspect
from open_webui.models.users import Users, UserModel, User
from open_webui.models.models import Models
from open_webui.models.files import Files

"""


def said(body: str, *, sync: bool = False, head: str = HEAD):
    """Returns what a pipe with this body returns, and how the server was asked."""
    indented = "\n".join(f"        {line}" for line in body.strip("\n").split("\n"))
    source = f"{head}class Pipe:\n    {'' if sync else 'async '}def pipe(self, body):\n{indented}\n"
    host = Answers()
    return "".join(items(loaded(source), host=host)), host.asked


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("return (await Users.get_user_by_id('u1')).name", "awaited"),
        ("user = await Users.get_user_by_id(\n    id='u1',\n    db=None,\n)\nreturn user.name", "awaited"),
        ("return [(await Users.get_user_by_id(i)).name for i in ['u1']][0]", "awaited"),
        ("args = ['u1']\nreturn (await Users.get_user_by_id(*args)).name", "awaited"),
        ("user = Users.get_user_by_id('u1')\nreturn user.name", "sync"),
        ("return Users.get_user_by_id('u1').name", "sync"),
        ("if Users.get_user_by_id('nobody'):\n    return 'found'\nreturn 'Ann'", "sync"),
        ("(user,) = await asyncio.gather(Users.get_user_by_id('u1'))\nreturn user.name", "awaited"),
        ("users = await asyncio.gather(*[Users.get_user_by_id(i) for i in ['u1']])\nreturn users[0].name", "awaited"),
        ("users = await asyncio.gather(*(Users.get_user_by_id(i) for i in ['u1']))\nreturn users[0].name", "awaited"),
        ("return (await asyncio.wait_for(Users.get_user_by_id('u1'), timeout=5)).name", "awaited"),
        ("return (await asyncio.create_task(Users.get_user_by_id('u1'))).name", "awaited"),
        ("return (await asyncio.shield(Users.get_user_by_id('u1'))).name", "awaited"),
        ("asking = Users.get_user_by_id('u1')\nuser = await asking\nreturn user.name", "awaited"),
        (
            "asking = Users.get_user_by_id('nobody')\nuser = await asking\nreturn 'Ann' if user is None else 'no'",
            "awaited",
        ),
        ("r = Users.get_user_by_id('u1')\nif inspect.isawaitable(r):\n    r = await r\nreturn r.name", "awaited"),
        ("get = lambda i: Users.get_user_by_id(i)\nreturn (await get('u1')).name", "awaited"),
        ("def get(i):\n    return Users.get_user_by_id(i)\nreturn (await get('u1')).name", "awaited"),
        (
            "get = Users.get_user_by_id\nuser = (await get('u1')) if inspect.iscoroutinefunction(get) else get('u1')\nreturn user.name",
            "sync",
        ),
        ("return (await asyncio.to_thread(Users.get_user_by_id, 'u1')).name", "sync"),
        ("return await asyncio.to_thread(lambda: asyncio.run(Users.get_user_by_id('u1')).name)", "awaited"),
    ],
)
def test_every_spelling_gets_what_it_wants(code, how):
    assert said(code) == ("Ann", [(how, "users.get")])


def test_synchronous_hooks_wait_for_the_answer():
    assert said("return Users.get_user_by_id('u1').email", sync=True) == ("ann@example.org", [("sync", "users.get")])


def test_what_is_not_there_is_really_none():
    code = "return str([Users.get_user_by_id('x'), await Models.get_model_by_id('x'), Files.get_file_by_id('x')])"
    assert said(code)[0] == "[None, None, None]"


def test_users_are_models_as_authors_use_them():
    code = """
user = await Users.get_user_by_id('u1')
again = UserModel(**{**user.model_dump(), "valves": {"x": 1}})
assert isinstance(user, User) and again == user, (again, user)
assert user.api_key is None and user.oauth_sub is None
assert user.profile_image_url == "/api/v1/users/u1/profile/image"
everybody = Users.get_users()
assert everybody["total"] == 1 and everybody.get("users") == list(everybody) and everybody[0].name == "Ann"
assert (await Users.get_users(limit=1))["users"][0].id == "u1"
assert [u.id for u in Users.get_users_by_user_ids(["x", "u1"])] == ["u1"]
return "fine"
"""
    assert said(code)[0] == "fine"


def test_models_and_files_come_as_models():
    code = """
model = Models.get_model_by_id("m1")
assert model.params.temperature == 1 and model.meta.filterIds == ["f"] and model.params.model_dump() == {"temperature": 1}
assert [m.id for m in await Models.get_all_models()] == ["m1", "echo"]
assert [m.id for m in Models.get_models()] == ["m1"]
assert [m.id for m in Models.get_base_models()] == ["echo"]
assert [m.id for m in Models.get_models_by_ids(["x", "m1"])] == ["m1"]
file = await Files.get_file_by_id("f1")
assert file.filename == "a.txt" and file.meta["size"] == 5
assert Files.get_file_by_id_and_user_id("f1", "u2") is None
assert len(Files.get_files()) == 150 and len(await Files.get_files_by_user_id("u1")) == 150
assert Files.get_file_metadata_by_id("f1").meta == {"size": 5}
return "fine"
"""
    assert said(code)[0] == "fine"


def test_the_content_of_a_file_is_opened_from_a_path_of_the_functions_own():
    code = """
import os
from open_webui.storage.provider import Storage
file = await Files.get_file_by_id("f1")
path = Storage.get_file(file.path)
with open(path, "rb") as content:
    assert content.read() == b"hello"
assert await asyncio.to_thread(Storage.get_file, file.path) == await Storage.get_file("uploads/f1") == path
assert os.listdir(os.path.dirname(path)) == ["f1"]
try:
    Storage.get_file("uploads/f2")
except FileNotFoundError as error:
    assert "f2" in str(error)
os.unlink(path)
os.rmdir(os.path.dirname(path))
return "fine"
"""
    answer, asked = said(code)
    assert answer == "fine"
    # Fetched in two pieces and an empty one; whether the caller has it is asked each time.
    assert [method for _, method in asked] == ["files.get", "files.get", *["files.read"] * 3, *["files.get"] * 3]


def test_what_the_server_refuses_reaches_the_author_as_a_sentence():
    code = """
try:
    await Users.get_user_by_id("secret")
except Exception as error:
    return f"{type(error).__name__}: {error}"
"""
    assert said(code)[0] == "HostError: This function may not ask."


def test_what_is_not_offered_says_so_when_it_is_called():
    code = """
method = Users.delete_user_by_id
try:
    await method("u1")
except NotImplementedError as error:
    return str(error)
"""
    assert said(code)[0] == (
        "open_webui.models.users: UsersTable.delete_user_by_id() is not available here. "
        "Accounts and roles are managed in the admin."
    )


def test_outside_of_a_call_nobody_can_be_asked():
    source = (
        HEAD
        + """
try:
    Users.get_user_by_id("u1")
    ERROR = None
except Exception as error:
    ERROR = str(error)

class Pipe:
    def pipe(self, body):
        return ERROR
"""
    )
    assert items(loaded(source)) == [
        "The server can only be asked while a hook runs, by code that belongs to its call."
    ]
