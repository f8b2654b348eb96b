"""The tables of ``open_webui`` in functions that serve, as their callers may use them."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import Group

from functions_app.models import File, Memory
from tests.pipeline_app.worker.test_compat import forget_the_package

__all__ = ["forget_the_package"]

# Host calls read the database beside the test.
pytestmark = pytest.mark.django_db(transaction=True)

HEAD = """
import asyncio, concurrent.futures, os, tempfile
from open_webui.models.chats import Chats
from open_webui.models.files import FileForm, Files
from open_webui.models.functions import Functions
from open_webui.models.groups import Groups
from open_webui.models.memories import Memories
from open_webui.models.users import UserModel, Users

class Pipe:
    async def pipe(self, body, __user__, __metadata__, __event_emitter__):
"""


def source(body: str) -> str:
    return HEAD + "\n".join(f"        {line}" for line in body.strip("\n").split("\n")) + "\n"


def test_the_caller_is_found_by_every_way_there(api, pipe, bob):
    pipe(
        "who",
        source(
            """
me = UserModel(**__user__)
loop = asyncio.get_running_loop()
found = [
    await Users.get_user_by_id(me.id),
    Users.get_user_by_id(me.id),
    await asyncio.to_thread(Users.get_user_by_id, me.id),
    await loop.run_in_executor(None, Users.get_user_by_id, me.id),
    *await asyncio.gather(*[Users.get_user_by_id(id) for id in [me.id]]),
    await asyncio.to_thread(lambda: asyncio.run(Users.get_user_by_id(me.id))),
]
assert {user.id for user in found} == {me.id}
assert Users.get_user_by_id("nobody") is None and await Users.get_user_by_id("nobody") is None
return f"{len(found)} times {me.name}, {[user.name for user in await Users.get_users()]}"
"""
        ),
    )
    assert api.chat("who").content == "6 times alice, ['alice', 'bob']"


def test_what_is_made_for_the_caller_is_theirs(bobs_api, pipe, bob, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    bob.groups.add(Group.objects.create(name="few"))
    id = str(uuid.uuid4())
    pipe(
        "keep",
        source(
            f"""
path = os.path.join(tempfile.mkdtemp(), "note.txt")
with open(path, "w") as out:
    out.write("written")
form = FileForm(id="{id}", filename="note.txt", path=path, meta={{"name": "note.txt", "chat": object()}})
file = Files.insert_new_file(__user__["id"], form)
assert (await Files.update_file_data_by_id(file.id, {{"seen": True}})).data["seen"] is True
memory = await Memories.insert_new_memory(__user__["id"], "Likes tea")
assert [one.content for one in Memories.get_memories_by_user_id(__user__["id"])] == ["Likes tea"]
assert Memories.update_memory_by_id(memory.id, "Likes coffee").content == "Likes coffee"
assert await Memories.delete_memory_by_id_and_user_id(memory.id, "somebody else") is False
assert Functions.get_function_by_id("keep").name == "keep"
groups = [group.name for group in Groups.get_groups_by_member_id(__user__["id"])]
return f"{{file.id}} {{file.meta['size']}} {{groups}}"
"""
        ),
    )
    assert bobs_api.chat("keep").content == f"{id} 7 ['few']"
    file = File.objects.get(pk=id)
    assert (file.user, file.data) == (bob, {"seen": True})
    assert bobs_api.get(f"/api/v1/files/{id}/content").text == "written"
    assert Memory.objects.get(user=bob).content == "Likes coffee"


def test_changes_of_the_chat_come_out_as_events(bobs_api, pipe):
    pipe(
        "chat",
        source(
            """
chat = await Chats.get_chat_by_id(__metadata__["chat_id"])
assert [message["content"] for message in chat.chat["messages"]] == ["hello", ""]
at = __metadata__["chat_id"], __metadata__["message_id"]
Chats.add_message_status_to_chat_by_id_and_message_id(*at, {"description": "Looking", "done": True})
await Chats.add_message_files_by_id_and_message_id(*at, [{"type": "image", "url": "/x.png"}])
return str(await Chats.get_chat_by_id("another"))
"""
        ),
    )
    answer = bobs_api.chat("chat", stream=True, chat_id="c1", id="m1")
    assert answer.streamed == "None"
    assert answer.events == [
        {"type": "status", "data": {"description": "Looking", "done": True}},
        {"type": "files", "data": {"files": [{"type": "image", "url": "/x.png"}]}},
    ]


def test_a_policy_without_the_grant_keeps_the_table_shut(bobs_api, pipe):
    pipe(
        "shut",
        source(
            """
try:
    Memories.get_memories_by_user_id(__user__["id"])
except Exception as error:
    return str(error)
"""
        ),
        policy={"grants": ["events"]},
    )
    assert bobs_api.chat("shut").content == (
        "This function may not ask for memories.list: its policy does not have the grant 'chats'."
    )
