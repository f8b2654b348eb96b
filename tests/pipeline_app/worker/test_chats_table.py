"""``open_webui.models.chats``: the chat of the running request, and no other."""

from __future__ import annotations

import textwrap

import pytest

from pipeline_app.worker.answers import Event
from tests.pipeline_app.worker.helpers import items, loaded, value
from tests.pipeline_app.worker.test_compat import Answers, forget_the_package

__all__ = ["forget_the_package"]

MESSAGES = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "How are you?"},
]
CONTEXT = {
    "user": {"id": "u1", "email": "ann@example.org", "name": "Ann", "role": "user"},
    "chat_id": "c1",
    "message_id": "m9",
    "metadata": {"chat_id": "c1", "message_id": "m9", "user_message_id": "m8"},
    "model": {"id": "echo"},
}


def piped(body: str, context=CONTEXT, sync: bool = False):
    """Returns what a pipe with this body says: its texts as one, and its events."""
    head = "import asyncio\nfrom open_webui.models.chats import Chats, ChatForm, ChatModel, Chat\n"
    signature = f"    {'' if sync else 'async '}def pipe(self, body):\n"
    source = f"{head}class Pipe:\n{signature}{textwrap.indent(body.strip(), ' ' * 8)}\n"
    said = items(loaded(source), {"messages": MESSAGES, "model": "echo"}, context, host=Answers())
    texts = [item for item in said if isinstance(item, str)]
    return "".join(texts), [dict(item) for item in said if isinstance(item, Event)]


def test_the_chat_of_the_request_is_made_of_its_messages():
    said, events = piped(
        """
chat = await Chats.get_chat_by_id("c1")
assert isinstance(chat, Chat) and (chat.id, chat.user_id, chat.title) == ("c1", "u1", "New Chat")
assert chat.chat["models"] == ["echo"] and chat.chat["system"] == "Be kind."
history = chat.chat["history"]
assert history["currentId"] == chat.current_message_id == "m9"
path, at = [], history["currentId"]
while at:
    path.append(at)
    at = history["messages"][at]["parentId"]
assert [history["messages"][id]["content"] for id in reversed(path)] == ["Hello", "Hi", "How are you?", ""]
assert path[:2] == ["m9", "m8"] and history["messages"]["m8"]["childrenIds"] == ["m9"]
assert [message["id"] for message in chat.chat["messages"]] == list(history["messages"])
assert Chats.get_messages_map_by_chat_id("c1") == history["messages"]
assert (await Chats.get_message_by_id_and_message_id("c1", "m8"))["content"] == "How are you?"
assert Chats.get_message_by_id_and_message_id("c1", "none") == {}
assert ChatModel(**chat.model_dump()) == chat
return "fine"
"""
    )
    assert (said, events) == ("fine", [])


def test_other_chats_are_not_there():
    said, _ = piped(
        """
assert Chats.get_chat_by_id("c2") is None and await Chats.get_chat_by_id("c2") is None
assert Chats.get_chat_by_id_and_user_id("c1", "u2") is None
assert (await Chats.get_chat_by_id_and_user_id("c1", "u1")).id == "c1"
for found in (
    Chats.get_chat_title_by_id("c2"), Chats.get_messages_map_by_chat_id("c2"), Chats.get_message_by_id_and_message_id("c2", "m9"),
    Chats.upsert_message_to_chat_by_id_and_message_id("c2", "m9", {"content": "x"}), Chats.update_chat_by_id("c2", {}),
    Chats.add_message_files_by_id_and_message_id("c2", "m9", []), Chats.update_chat_title_by_id("c2", "T"),
    Chats.add_message_status_to_chat_by_id_and_message_id("c2", "m9", {}), Chats.toggle_chat_pinned_by_id("c2"),
):
    assert found is None, found
assert Chats.delete_chat_by_id("c1") is False and await Chats.delete_chats_by_user_id("u1") is False
assert [chat.id for chat in await Chats.get_chats_by_user_id("u1")] == ["c1"]
assert Chats.get_chats_by_user_id("u1").total == 1 and Chats.get_chats_by_user_id("u2").items == []
assert [found.title for found in Chats.get_chat_list_by_user_id("u1")] == ["New Chat"]
assert len(Chats.get_chats_by_user_id_and_search_text("u1", "how ARE")) == 1
assert Chats.get_chats_by_user_id_and_search_text("u1", "bye") == []
assert Chats.is_chat_owner("c1", "u1") is True and Chats.is_chat_owner("c2", "u1") is False
try:
    Chats.insert_new_chat("u1", ChatForm(chat={}))
except NotImplementedError as error:
    return str(error)
"""
    )
    assert said == (
        "open_webui.models.chats: ChatTable.insert_new_chat() is not available here. "
        "This server keeps no chats; the client does. Send the client an event instead."
    )


@pytest.mark.parametrize("chat_id", ["", None, "temporary:1", "local:x", "channel:y"])
def test_a_request_without_a_kept_chat_has_none(chat_id):
    context = {**CONTEXT, "chat_id": chat_id, "metadata": {**CONTEXT["metadata"], "chat_id": chat_id}}
    code = f"return repr((Chats.get_chat_by_id({chat_id!r}), await Chats.get_chats()))"
    assert piped(code, context)[0] == "(None, [])"


@pytest.mark.parametrize("sync", [False, True])
def test_changes_of_the_answer_are_told_and_hold_for_the_call(sync):
    code = """
chat = Chats.upsert_message_to_chat_by_id_and_message_id("c1", "m9", {"content": "So far", "model": "echo"})
assert chat.chat["history"]["messages"]["m9"]["content"] == "So far"
Chats.add_message_status_to_chat_by_id_and_message_id("c1", "m9", {"description": "Looking", "done": False})
assert Chats.add_message_files_by_id_and_message_id("c1", "m9", [{"id": "f1"}]) == [{"id": "f1"}]
assert Chats.add_message_files_by_id_and_message_id("c1", "m9", [{"id": "f2"}]) == [{"id": "f1"}, {"id": "f2"}]
assert Chats.add_message_files_by_id_and_message_id("c1", "none", [{"id": "f2"}]) == []
message = Chats.get_message_by_id_and_message_id("c1", "m9")
assert message["statusHistory"] == [{"description": "Looking", "done": False}] and len(message["files"]) == 2
Chats.update_chat_title_by_id("c1", "Well-being")
assert Chats.get_chat_title_by_id("c1") == "Well-being"
Chats.update_chat_tags_by_id("c1", ["Very Well", "none", "health"], None)
assert Chats.get_chat_by_id("c1").meta == {"tags": ["very_well", "health"]}
assert Chats.delete_tag_by_id_and_user_id_and_tag_name("c1", "u1", "Health") is True
assert [tag.name for tag in Chats.get_chat_tags_by_id_and_user_id("c1", "u1")] == ["very_well"]
assert Chats.toggle_chat_pinned_by_id("c1").pinned is True and Chats.get_chat_by_id("c1").pinned is True
return "fine"
"""
    said, events = piped(code, sync=sync)
    assert said == "fine"
    assert events == [
        {"type": "replace", "data": {"content": "So far"}},
        {"type": "status", "data": {"description": "Looking", "done": False}},
        {"type": "files", "data": {"files": [{"id": "f1"}]}},
        {"type": "files", "data": {"files": [{"id": "f1"}, {"id": "f2"}]}},
        {"type": "chat:title", "data": "Well-being"},
        {"type": "chat:tags", "data": ["very_well", "health"]},
        {"type": "chat:tags", "data": ["very_well"]},
    ]


def test_a_chat_that_is_changed_and_put_back_tells_what_differs():
    code = """
chat = Chats.get_chat_by_id("c1").chat
answer = chat["history"]["messages"]["m9"]
answer.update(
    content="All of it", sources=[{"source": {"name": "s"}}], embeds=["<p>"], followUps=["And you?"],
    statusHistory=[{"description": "Done", "done": True}], error={"content": "late"},
)
chat["history"]["messages"]["m8"]["content"] = "How are you today?"
chat["title"] = "T"
kept = await Chats.update_chat_by_id("c1", chat)
assert kept.title == "T" and kept.chat["history"]["currentId"] == "m9"
assert Chats.get_message_by_id_and_message_id("c1", "m8")["content"] == "How are you today?"
Chats.update_chat_by_id("c1", kept.chat)
return "fine"
"""
    said, events = piped(code)
    assert said == "fine"
    assert [(event["type"], event["data"]) for event in events] == [
        ("chat:title", "T"),
        ("replace", {"content": "All of it"}),
        ("embeds", {"embeds": ["<p>"], "replace": True}),
        ("source", {"source": {"name": "s"}}),
        ("status", {"description": "Done", "done": True}),
        ("chat:message:error", {"error": {"content": "late"}}),
        ("chat:message:follow_ups", {"follow_ups": ["And you?"]}),
    ]


def test_every_call_begins_with_what_the_client_sent():
    code = """
before = Chats.get_chat_by_id("c1").title
Chats.update_chat_title_by_id("c1", "Changed")
return before
"""
    assert [piped(code)[0], piped(code)[0]] == ["New Chat", "New Chat"]


def test_an_action_finds_the_messages_with_their_own_ids():
    source = """
from open_webui.models.chats import Chats

class Action:
    async def action(self, body):
        chat = await Chats.get_chat_by_id(body["chat_id"])
        return {"content": [message["id"] for message in chat.chat["messages"]]}
"""
    body = {
        "chat_id": "c1",
        "messages": [{"id": "a", "role": "user", "content": "x"}, {"id": "b", "role": "assistant", "content": "y"}],
    }
    context = {**CONTEXT, "message_id": "b", "metadata": {"chat_id": "c1"}}
    assert value(loaded(source), "action", body, context, host=Answers()) == {"content": ["a", "b"]}


def test_files_are_linked_for_the_call():
    code = """
(link,) = Chats.insert_chat_files("c1", "m9", ["f1", "f1"], "u1")
assert (link.file_id, link.message_id) == ("f1", "m9")
assert Chats.insert_chat_files("c1", "m9", ["f1"], "u1") == [] and Chats.insert_chat_files("c2", "m9", ["f1"], "u1") is None
assert len(await Chats.get_chat_files_by_chat_id_and_message_id("c1", "m9")) == 1
assert Chats.delete_chat_file("c1", "f1") is True and Chats.delete_chat_file("c1", "f1") is False
return "fine"
"""
    assert piped(code) == ("fine", [])
