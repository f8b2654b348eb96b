"""Steps of a chat that functions do themselves: results of tools, sources and attached files in messages."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

from .._either import either
from ..config import DEFAULT_RAG_TEMPLATE
from ._outputs import convert_output_to_messages
from .misc import add_or_update_user_message
from .task import rag_template

Json = dict[str, Any]

_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/=\s]+")


@either
def process_tool_result(
    request: Any,
    tool_function_name: str,
    tool_result: Any,
    tool_type: str = "",
    direct_tool: bool = False,
    metadata: Any = None,
    user: Any = None,
) -> tuple[Any, list[Json], list[Any]]:
    """Returns what a tool gave as ``(text, files, embeds)``: pages go into embeds, pictures into files."""
    files: list[Json] = []
    embeds: list[Any] = []
    said: Any = None
    if isinstance(tool_result, tuple) and len(tool_result) == 2:
        tool_result, rest = tool_result
        if isinstance(rest, dict):
            page, said = _page(tool_result, rest)
        else:
            page, said = _page(tool_result, {})
            said = rest if page is not None else said
            if page is None:
                tool_result = [tool_result, rest]
    else:
        page, _ = _page(tool_result, {})
    if page is not None:
        embeds.append(page)
        text = (
            said
            if said is not None
            else {
                "status": "success",
                "code": "ui_component",
                "message": f"{tool_function_name}: Embedded UI result is active and visible to the user.",
            }
        )
        return (text if isinstance(text, str) else json.dumps(text, indent=2, ensure_ascii=False)), files, embeds
    if hasattr(tool_result, "body") and hasattr(tool_result, "status_code"):
        tool_result = bytes(tool_result.body).decode("utf-8", "replace")
    items = tool_result if isinstance(tool_result, list) else [tool_result]
    kept = [item for item in items if not _is_picture(item)]
    files += [{"type": "image", "url": _picture(item)} for item in items if _is_picture(item)]
    if isinstance(tool_result, list):
        tool_result = [_plain(item) for item in kept]
        if tool_type == "mcp" and all(isinstance(item, str) for item in tool_result):
            tool_result = "\n".join(tool_result)
    else:
        tool_result = kept[0] if kept else ""
    if isinstance(tool_result, dict | list):
        tool_result = json.dumps(tool_result, indent=2, ensure_ascii=False, default=str)
    return ("" if tool_result is None else str(tool_result)), files, embeds


def _page(result: Any, headers: Json) -> tuple[Any, Any]:
    """Returns the page that a result shows, and what else is to be said; None for what is no page."""
    found = {
        str(name).lower(): str(value) for name, value in (headers or getattr(result, "headers", None) or {}).items()
    }
    if "inline" not in found.get("content-disposition", ""):
        return None, None
    if "text/html" in found.get("content-type", ""):
        body = getattr(result, "body", result)
        return (bytes(body).decode("utf-8", "replace") if isinstance(body, bytes | memoryview) else str(body)), None
    return found.get("location"), None


def _is_picture(item: Any) -> bool:
    if isinstance(item, dict):
        return item.get("type") == "image" and bool(item.get("data"))
    return isinstance(item, str) and _IMAGE.fullmatch(item.strip()) is not None


def _picture(item: Any) -> str:
    if isinstance(item, dict):
        return f"data:{item.get('mimeType') or 'image/png'};base64,{item['data']}"
    return str(item).strip()


def _plain(item: Any) -> Any:
    """Returns a part of an MCP answer as its text."""
    if isinstance(item, dict) and item.get("type") == "text":
        text = item.get("text", "")
        try:
            return json.loads(text)
        except (TypeError, ValueError):
            return text
    return item


def get_citation_source_from_tool_result(
    tool_name: str, tool_params: Any, tool_result: Any, tool_id: str = ""
) -> list[Json]:
    """Returns what a tool gave as sources of an answer; none for an error."""
    data = tool_result
    if isinstance(tool_result, str):
        try:
            data = json.loads(tool_result)
        except ValueError:
            data = tool_result
    if not data or (isinstance(data, dict) and "error" in data):
        return []
    if tool_name in ("search_web", "search_knowledge_files", "query_knowledge_files") and isinstance(data, list):
        return [_found(item) for item in data if isinstance(item, dict)]
    if tool_name == "fetch_url":
        url = (tool_params or {}).get("url") or tool_name
        return [_source(url, str(tool_result), {"source": url, "name": url, "url": url}, url)]
    name = f"{tool_id}/{tool_name}" if tool_id else tool_name
    text = tool_result if isinstance(tool_result, str) else json.dumps(tool_result, ensure_ascii=False, default=str)
    return [_source(name, text, {"source": name, "name": name, "parameters": tool_params})]


def _found(item: Json) -> Json:
    url = item.get("link") or item.get("url") or item.get("source") or ""
    name = item.get("title") or item.get("filename") or url
    text = item.get("snippet") or item.get("content") or ""
    return _source(name, text, {"source": url or name, "name": name, "url": url}, url)


def _source(name: str, document: str, metadata: Json, url: str = "") -> Json:
    told = {"name": name, "id": url or name}
    return {"source": {**told, "url": url} if url else told, "document": [document], "metadata": [metadata]}


def add_file_context(messages: list[Json], *_: Any, **__: Any) -> list[Json]:
    """Puts the list of its files before each message of the user's that has some. Changes the messages."""
    for message in messages:
        files = message.get("files")
        if message.get("role") != "user" or not isinstance(files, list) or not files:
            continue
        tags = "\n".join(_tag(file) for file in files if isinstance(file, dict))
        add_or_update_user_message(f"<attached_files>\n{tags}\n</attached_files>\n", [message], append=False)
    return messages


def _tag(file: Json) -> str:
    told = {"type": file.get("type", "file"), "id": file.get("id"), "url": file.get("url"), "name": file.get("name")}
    told["content_type"] = file.get("content_type")
    attributes = " ".join(f'{name}="{escape(str(value))}"' for name, value in told.items() if value)
    return f"<file {attributes}/>"


def process_messages_with_output(messages: list[Json], *args: Any, **kwargs: Any) -> list[Json]:
    """Returns messages in which those with output items are what these say: text, tool calls and their results."""
    made: list[Json] = []
    for message in messages:
        output = message.get("output")
        if message.get("role") == "assistant" and output:
            said = convert_output_to_messages(output, raw=True)
            if said:
                made += said
                continue
        made.append({name: value for name, value in message.items() if name != "output"})
    return made


def get_source_context(sources: list[Json], source_ids: Any = None, include_content: bool = True, **_: Any) -> str:
    """Returns sources as numbered tags, one for each document; equal sources share a number."""
    numbers: dict[str, int] = source_ids if isinstance(source_ids, dict) else {}
    text = ""
    for source in sources:
        documents, metadata = source.get("document") or [], source.get("metadata") or []
        for document, told in zip(documents, [*metadata, *[{}] * len(documents)], strict=False):
            own = source.get("source") or {}
            key = str((told or {}).get("source") or own.get("id") or "N/A")
            number = numbers.setdefault(key, len(numbers) + 1)
            name = own.get("name")
            named = f' name="{escape(str(name))}"' if name else ""
            text += f'<source id="{number}"{named}>{document if include_content else ""}</source>\n'
    return text


@either
def apply_source_context_to_messages(
    request: Any, messages: list[Json], sources: list[Json], user_message: str, include_content: bool = True
) -> list[Json]:
    """Returns messages whose last of the user's asks with the sources as context. Changes the messages."""
    context = get_source_context(sources, include_content=include_content).strip()
    if not context:
        return messages
    config = getattr(getattr(getattr(request, "app", None), "state", None), "config", None)
    template = getattr(config, "RAG_TEMPLATE", None) or DEFAULT_RAG_TEMPLATE
    from .misc import set_last_user_message_content

    return set_last_user_message_content(rag_template(template, context, user_message), messages)


@either
def chat_completion_files_handler(
    request: Any, body: Json, extra_params: Any = None, user: Any = None
) -> tuple[Json, Json]:
    """Returns the body as it is, and no sources: nothing is indexed here."""
    return body, {"sources": []}
