"""Names and sentences that functions compare with and answer with."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class TASKS(StrEnum):
    """What a completion is for, when it is no chat; equal to the text in ``__task__``."""

    @staticmethod
    def DEFAULT(task: str = "") -> str:
        """Returns the name of a task as a word."""
        return f"{task or 'generation'}"

    TITLE_GENERATION = "title_generation"
    FOLLOW_UP_GENERATION = "follow_up_generation"
    TAGS_GENERATION = "tags_generation"
    EMOJI_GENERATION = "emoji_generation"
    QUERY_GENERATION = "query_generation"
    IMAGE_PROMPT_GENERATION = "image_prompt_generation"
    AUTOCOMPLETE_GENERATION = "autocomplete_generation"
    FUNCTION_CALLING = "function_calling"
    MOA_RESPONSE_GENERATION = "moa_response_generation"


class Message(str):
    """A sentence, which may also be called with what it is about."""

    def __call__(self, about: Any = "", *_: Any, **__: Any) -> str:
        return f"{self} ({about})" if about else str(self)


def _default(err: Any = "", fallback: str = "Something went wrong.") -> str:
    return f"[ERROR: {err}]" if err else fallback


class _Messages:
    """Sentences by name; a name that is not known has a general one."""

    DEFAULT = staticmethod(_default)
    NOT_FOUND = Message("This is not there.")
    UNAUTHORIZED = Message("401 Unauthorized")
    ACCESS_PROHIBITED = Message("You may not do this. Ask an administrator.")
    USER_NOT_FOUND = Message("There is no such user.")
    MODEL_NOT_FOUND = Message("There is no such model.")
    FILE_NOT_PROCESSED = Message("The text of this file is not there.")
    INVALID_TOKEN = Message("The session has expired, or the token is invalid. Sign in again.")
    RATE_LIMIT_EXCEEDED = Message("Too many requests; try again later.")
    INCORRECT_FORMAT = Message("This has the wrong format.")

    def __getattr__(self, name: str) -> Message:
        if not name.isupper():
            raise AttributeError(name)
        return Message(f"Something went wrong: {name.lower().replace('_', ' ')}.")


ERROR_MESSAGES: Any = _Messages()


class _Webhooks(_Messages):
    @staticmethod
    def USER_SIGNUP(username: str = "") -> str:
        """Returns the sentence for a new user."""
        return f"New user signed up: {username}" if username else "New user signed up"


WEBHOOK_MESSAGES: Any = _Webhooks()
