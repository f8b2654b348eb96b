"""Chats. The server keeps none: there is the chat of the running request, made of what the client sent.

What a function changes of it holds for the rest of its call, and reaches the client as the event that says the same.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from .._asking import Facts, Page, Rows, Table, Words, answers
from .._calling import caller_id
from .._records import Record, record, rows
from ._story import Story, running_chat


class ChatModel(Record):
    """A chat."""

    id: str
    user_id: str
    title: str
    chat: dict[str, Any]
    created_at: int = 0
    updated_at: int = 0
    share_id: str | None = None
    archived: bool = False
    pinned: bool | None = False
    meta: dict[str, Any] = {}
    variables: dict[str, Any] | None = None
    folder_id: str | None = None
    tasks: list[Any] | None = None
    summary: str | None = None
    current_message_id: str | None = None
    last_read_at: int | None = None
    timer_at: int | None = None


Chat = ChatResponse = ChatModel
ChatForm = record("ChatForm", __name__, "chat", **rows("variables folder_id"))
ChatImportForm = record("ChatImportForm", __name__, "chat", meta={}, pinned=False, **rows("folder_id"))
ChatTitleIdResponse = record("ChatTitleIdResponse", __name__, "id title updated_at created_at", **rows("last_read_at"))
ChatFileModel = record(
    "ChatFileModel", __name__, "id user_id chat_id file_id", **rows("message_id created_at updated_at")
)
ChatListResponse = Page


class ChatTable(Table):
    """What functions ask about chats, and change of the one that they run in."""

    elsewhere = MappingProxyType(
        {
            "insert_new_chat import_chats insert_shared_chat_by_chat_id": (
                "This server keeps no chats; the client does. Send the client an event instead."
            )
        }
    )

    # --- reading -----------------------------------------------------------------------------------------

    @answers
    def get_chat_by_id(self, id: str, db: Any = None) -> ChatModel | None:
        """Returns the chat of the running request; None for any other."""
        return _model(running_chat(id))

    @answers
    def get_chat_by_id_and_user_id(self, id: str, user_id: str, db: Any = None) -> ChatModel | None:
        """Returns the chat of the running request if it is that user's; None for any other."""
        return _model(_of(id, user_id))

    @answers
    def get_chats(self, skip: int = 0, limit: int = 50, db: Any = None) -> Page:
        """Returns the chat of the running request."""
        return Page(_own(caller_id())[skip : skip + limit])

    @answers
    def get_chats_by_user_id(
        self, user_id: str, filter: Any = None, skip: int | None = None, limit: int | None = None, db: Any = None
    ) -> Page:
        """Returns the chat of the running request if it is that user's."""
        return Page(_own(user_id))

    @answers
    def get_chat_list_by_user_id(self, user_id: str, *args: Any, **kwargs: Any) -> Rows:
        """Returns the title of the chat of the running request if it is that user's."""
        return Rows(ChatTitleIdResponse.model_validate(found.model_dump()) for found in _own(user_id))

    @answers
    def get_chats_by_user_id_and_search_text(self, user_id: str, search_text: str, *args: Any, **kwargs: Any) -> Rows:
        """Returns the chat of the running request if it is that user's and has the text."""
        words = search_text.casefold()
        return Rows(found for found in _own(user_id) if words in str(found.chat.get("messages")).casefold())

    @answers
    def get_chats_by_folder_id_and_user_id(self, folder_id: str, user_id: str, *args: Any, **kwargs: Any) -> Rows:
        """Returns nothing: there are no folders."""
        return Rows()

    @answers
    def get_archived_chats_by_user_id(self, user_id: str, *args: Any, **kwargs: Any) -> Rows:
        """Returns nothing: none is kept."""
        return Rows()

    @answers
    def get_chat_title_by_id(self, id: str, db: Any = None) -> Words | None:
        """Returns the title of the chat of the running request; None for any other."""
        story = running_chat(id)
        return None if story is None else Words(story.title)

    @answers
    def get_chat_folder_id(self, id: str, user_id: str, db: Any = None) -> None:
        """Returns None: there are no folders."""
        return None

    @answers
    def get_messages_map_by_chat_id(self, id: str, db: Any = None) -> Facts | None:
        """Returns the messages of the running request's chat by their ids; None for any other."""
        story = running_chat(id)
        return None if story is None else Facts(story.messages)

    @answers
    def get_message_by_id_and_message_id(self, id: str, message_id: str, db: Any = None) -> Facts | None:
        """Returns a message of the running request's chat, empty when it has none; None for any other chat."""
        story = running_chat(id)
        return None if story is None else Facts(story.messages.get(message_id, {}))

    @answers
    def is_chat_owner(self, id: str, user_id: str, db: Any = None) -> bool:
        """Returns whether it is the chat of the running request, and that user's."""
        return _of(id, user_id) is not None

    # --- changing ----------------------------------------------------------------------------------------

    @answers
    def upsert_message_to_chat_by_id_and_message_id(
        self, id: str, message_id: str, message: dict[str, Any], *, touch: bool = True, db: Any = None
    ) -> ChatModel | None:
        """Merges facts into a message, or adds one. What changes of the answer, the client is told."""
        story = running_chat(id)
        if story is not None:
            story.upsert(message_id, message)
        return _model(story)

    @answers
    def add_message_status_to_chat_by_id_and_message_id(
        self, id: str, message_id: str, status: dict[str, Any], db: Any = None
    ) -> ChatModel | None:
        """Adds a status to a message; a ``status`` event for the answer."""
        story = running_chat(id)
        if story is not None:
            story.add_status(message_id, status)
        return _model(story)

    @answers
    def add_message_files_by_id_and_message_id(
        self, id: str, message_id: str, files: list[dict[str, Any]], db: Any = None
    ) -> Rows | None:
        """Adds files to a message and returns all that it has; a ``files`` event for the answer."""
        story = running_chat(id)
        return None if story is None else Rows(story.add_files(message_id, files))

    @answers
    def update_chat_by_id(
        self, id: str, chat: dict[str, Any], *, touch: bool = True, db: Any = None
    ) -> ChatModel | None:
        """Changes parts of the chat, title and messages among them."""
        story = running_chat(id)
        if story is not None:
            story.change(chat)
        return _model(story)

    @answers
    def update_chat_title_by_id(self, id: str, title: str, db: Any = None) -> ChatModel | None:
        """Gives the chat another title; a ``chat:title`` event."""
        story = running_chat(id)
        if story is not None:
            story.rename(title)
        return _model(story)

    @answers
    def update_chat_tags_by_id(self, id: str, tags: list[str], user: Any, db: Any = None) -> None:
        """Replaces the tags of the chat; a ``chat:tags`` event."""
        story = running_chat(id)
        if story is not None:
            story.tag(tags)

    @answers
    def add_chat_tag_by_id_and_user_id_and_tag_name(self, id: str, user_id: str, tag_name: str, db: Any = None) -> None:
        """Adds a tag to the chat; a ``chat:tags`` event."""
        story = _of(id, user_id)
        if story is not None:
            story.tag([*story.tags, tag_name])

    @answers
    def get_chat_tags_by_id_and_user_id(self, id: str, user_id: str, db: Any = None) -> Rows:
        """Returns the tags of the chat."""
        from .tags import TagModel

        story = _of(id, user_id)
        return Rows(TagModel(id=tag, name=tag, user_id=user_id) for tag in (story.tags if story is not None else ()))

    @answers
    def delete_tag_by_id_and_user_id_and_tag_name(self, id: str, user_id: str, tag_name: str, db: Any = None) -> bool:
        """Takes a tag from the chat; False when it did not have it."""
        story = _of(id, user_id)
        if story is None or Story.tag_id(tag_name) not in story.tags:
            return False
        story.tag([tag for tag in story.tags if tag != Story.tag_id(tag_name)])
        return True

    @answers
    def update_chat_folder_id_by_id_and_user_id(self, *args: Any, **kwargs: Any) -> None:
        """Returns None: there are no folders."""
        return None

    @answers
    def toggle_chat_pinned_by_id(self, id: str, db: Any = None) -> ChatModel | None:
        """Pins the chat, or takes the pin away, for the rest of the call."""
        return _turned(id, "pinned")

    @answers
    def toggle_chat_archive_by_id(self, id: str, db: Any = None) -> ChatModel | None:
        """Archives the chat, or takes it back, for the rest of the call."""
        return _turned(id, "archived")

    # --- what there is nothing of ------------------------------------------------------------------------

    @answers
    def insert_chat_files(
        self, chat_id: str, message_id: str, file_ids: Any, user_id: str, db: Any = None
    ) -> Rows | None:
        """Links files to a message of the chat for the rest of the call; None for any other chat."""
        story = _of(chat_id, user_id)
        if story is None:
            return None
        return Rows(ChatFileModel.model_validate(link) for link in story.link(message_id, file_ids, str(user_id)))

    @answers
    def get_chat_files_by_chat_id_and_message_id(self, chat_id: str, message_id: str, db: Any = None) -> Rows:
        """Returns the files that were linked to a message in this call."""
        story = running_chat(chat_id)
        links = story.links if story is not None else []
        return Rows(ChatFileModel.model_validate(link) for link in links if link["message_id"] == message_id)

    @answers
    def delete_chat_file(self, chat_id: str, file_id: str, db: Any = None) -> bool:
        """Takes a link back; False when there was none."""
        story = running_chat(chat_id)
        return story is not None and story.unlink(file_id)

    @answers
    def delete_chat_by_id(self, id: str, db: Any = None) -> bool:
        """Returns False: the client keeps its chats."""
        return False

    @answers
    def delete_chat_by_id_and_user_id(self, id: str, user_id: str, db: Any = None) -> bool:
        """Returns False: the client keeps its chats."""
        return False

    @answers
    def delete_chats_by_user_id(self, user_id: str, db: Any = None) -> bool:
        """Returns False: the client keeps its chats."""
        return False


def _of(id: str, user_id: str) -> Story | None:
    story = running_chat(id)
    return story if story is not None and str(user_id) == story.user_id else None


def _own(user_id: str) -> list[ChatModel]:
    story = running_chat(None)
    found = _model(story) if story is not None and str(user_id) == story.user_id else None
    return [found] if found is not None else []


def _model(story: Story | None) -> ChatModel | None:
    return None if story is None else ChatModel(**story.to_wire())


def _turned(id: str, name: str) -> ChatModel | None:
    story = running_chat(id)
    if story is not None:
        story.turned[name] = not story.turned.get(name, False)
    return _model(story)


Chats = ChatTable()
