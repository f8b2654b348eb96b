"""Background tasks, as completions of a model: a title, tags, questions that may follow, and the like."""

from __future__ import annotations

from typing import Any

from ..utils.chat import completion
from ..utils.misc import get_messages_content

Json = dict[str, Any]

_CHAT = "\n\n<chat>\n{chat}\n</chat>"
_WANTED = {
    "title_generation": 'Give a short title for the chat, in its language. Answer with JSON: {"title": "..."}',
    "tags_generation": 'Give one to three broad tags for the chat. Answer with JSON: {"tags": ["..."]}',
    "follow_up_generation": 'Give three questions that may follow. Answer with JSON: {"follow_ups": ["..."]}',
    "query_generation": 'Give up to three search queries that help to answer. Answer with JSON: {"queries": ["..."]}',
    "image_prompt_generation": 'Describe a picture for the chat. Answer with JSON: {"prompt": "..."}',
    "emoji_generation": "Answer with one emoji that fits the text.",
    "autocomplete_generation": 'Continue the text. Answer with JSON: {"text": "..."}',
    "moa_response_generation": "Make one answer of the answers given.",
}


async def _task(task: str, request: Any, form_data: Json, user: Any) -> Any:
    messages = form_data.get("messages") or [{"role": "user", "content": str(form_data.get("prompt") or "")}]
    asked = _WANTED[task] + _CHAT.format(chat=get_messages_content(messages))
    responses = form_data.get("responses")
    if responses:
        asked += "\n\n" + "\n\n".join(f"<answer>\n{response}\n</answer>" for response in responses)
    told = {"task": task, "task_body": form_data, "chat_id": form_data.get("chat_id")}
    body = {
        "model": form_data["model"],
        "messages": [{"role": "user", "content": asked}],
        "stream": bool(form_data.get("stream")) and task == "moa_response_generation",
        "metadata": told,
    }
    return await completion(request, body, user)


async def generate_title(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of a chat's title."""
    return await _task("title_generation", request, form_data, user)


async def generate_chat_tags(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of a chat's tags."""
    return await _task("tags_generation", request, form_data, user)


async def generate_follow_ups(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of questions that may follow."""
    return await _task("follow_up_generation", request, form_data, user)


async def generate_queries(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of search queries."""
    return await _task("query_generation", request, form_data, user)


async def generate_image_prompt(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of a picture's description."""
    return await _task("image_prompt_generation", request, form_data, user)


async def generate_emoji(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of an emoji."""
    return await _task("emoji_generation", request, form_data, user)


async def generate_autocompletion(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of a text that is being written."""
    return await _task("autocomplete_generation", request, form_data, user)


async def generate_moa_response(request: Any, form_data: Json, user: Any = None) -> Any:
    """Returns the completion of one answer of several."""
    return await _task("moa_response_generation", request, form_data, user)
