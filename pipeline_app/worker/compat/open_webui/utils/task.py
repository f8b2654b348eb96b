"""Prompts of background tasks: templates and what is filled into them. All may be awaited or not."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any

from .._either import either
from .misc import get_content_from_message, get_last_user_message

Json = dict[str, Any]
UNKNOWN = "Unknown"


@either
def get_task_model_id(
    default_model_id: str, task_model: str | None, task_model_external: str | None, models: Any
) -> str:
    """Returns the model for a task: that for local models where the default is one, else that for all others."""
    model = models.get(default_model_id) or {}
    wanted = task_model if model.get("owned_by") == "ollama" or model.get("connection_type") == "local" else None
    wanted = wanted if wanted in models else task_model_external
    return wanted if wanted and wanted in models else default_model_id


@either
def prompt_variables_template(template: str, variables: dict[str, Any]) -> str:
    """Returns a template with each key replaced by its value."""
    for name, value in (variables or {}).items():
        template = template.replace(name, str(value))
    return template


def _facts(user: Any) -> dict[str, Any]:
    """Returns the facts of a user by the variables that ask for them."""
    if user is None:
        return {}
    data = user if isinstance(user, dict) else user.model_dump() if hasattr(user, "model_dump") else vars(user)
    info = data.get("info") if isinstance(data.get("info"), dict) else {}
    born = data.get("date_of_birth")
    if isinstance(born, str):
        try:
            born = date.fromisoformat(born)
        except ValueError:
            born = None
    age = None
    if born:
        today = date.today()
        age = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    return {
        "USER_NAME": data.get("name"),
        "USER_EMAIL": data.get("email"),
        "USER_BIO": data.get("bio"),
        "USER_GENDER": data.get("gender"),
        "USER_BIRTH_DATE": born,
        "USER_AGE": age,
        "USER_LOCATION": (info or {}).get("location"),
    }


@either
def prompt_template(template: str, user: Any = None, user_location: Any = None) -> str:
    """Returns a template with date, time and the user's facts filled in; without a user they are unknown.

    Older code gives a name and a place instead of a user.
    """
    if isinstance(user, str):
        user = {"name": user, "info": {"location": user_location}}
    now = datetime.now()
    values = {
        "CURRENT_DATE": f"{now:%Y-%m-%d}",
        "CURRENT_TIME": f"{now:%I:%M:%S %p}",
        "CURRENT_DATETIME": f"{now:%Y-%m-%d %I:%M:%S %p}",
        "CURRENT_WEEKDAY": f"{now:%A}",
    }
    names = ("NAME", "EMAIL", "BIO", "GENDER", "BIRTH_DATE", "AGE", "LOCATION")
    values |= {f"USER_{name}": UNKNOWN for name in names} | {name: str(fact) for name, fact in _facts(user).items()}
    values["USER_GROUPS"] = UNKNOWN if user is None else ""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values.get(found.group(1), found.group(0)), template)


def _cut(text: str, how: str) -> str:
    """Returns text as a variable asks for it: ``start:n``, ``end:n`` or ``middletruncate:n``."""
    kind, _, count = how.partition(":")
    most = int(count) if count.isdigit() else 0
    if not most:
        return text
    if kind == "start":
        return text[:most]
    if kind == "end":
        return text[-most:]
    if len(text) <= most:
        return text
    return f"{text[: most // 2 + most % 2]}...{text[-(most // 2) :] if most > 1 else ''}"


@either
def replace_prompt_variable(template: str, prompt: str) -> str:
    """Returns a template with ``{{prompt}}`` replaced, whole or cut."""
    found = re.compile(r"\{\{prompt(?::((?:start|end|middletruncate):\d+))?\}\}")
    return found.sub(lambda m: _cut(prompt or "", m.group(1) or ""), template)


@either
def truncate_content(content: str, max_chars: int, mode: str = "middletruncate") -> str:
    """Returns text cut to so many characters: its start, its end, or both without the middle."""
    return _cut(content, f"{mode}:{max_chars}")


@either
def apply_content_filter(messages: list[Json], content_filter: str) -> list[Json]:
    """Returns messages with their text cut, such as by ``middletruncate:500``."""
    cut = []
    for message in messages:
        text = get_content_from_message(message)
        cut.append({**message, "content": _cut(text or "", content_filter)})
    return cut


@either
def replace_messages_variable(template: str, messages: list[Json] | None = None) -> str:
    """Returns a template with ``{{MESSAGES}}`` replaced by the chat: all of it, or its start, end or both ends."""

    def said(found: re.Match[str]) -> str:
        chosen = list(messages or ())
        kind, count = found.group(1), int(found.group(2) or 0)
        if kind == "START":
            chosen = chosen[:count]
        elif kind == "END":
            chosen = chosen[-count:] if count else []
        elif kind == "MIDDLETRUNCATE" and len(chosen) > count:
            half = count // 2
            chosen = chosen[: count - half] + (chosen[-half:] if half else [])
        lines = [
            f"{m.get('role', '').upper()}: {_cut(get_content_from_message(m) or '', found.group(3) or '')}"
            for m in chosen
        ]
        return "\n".join(lines)

    pattern = r"\{\{MESSAGES(?::(START|END|MIDDLETRUNCATE):(\d+))?(?:\|((?:start|end|middletruncate):\d+))?\}\}"
    return re.sub(pattern, said, template)


@either
def rag_template(template: str, context: str, query: str) -> str:
    """Returns a template with context and question filled in; the context goes first where it has no place."""
    if not template.strip():
        template = "{{CONTEXT}}\n\n{{QUERY}}"
    if "[context]" not in template and "{{CONTEXT}}" not in template:
        template = "{{CONTEXT}}\n\n" + template
    values = {"{{CONTEXT}}": context, "[context]": context, "{{QUERY}}": query, "[query]": query}
    pattern = "|".join(re.escape(name) for name in values)
    return re.sub(pattern, lambda found: values[found.group()], template)


@either
def title_generation_template(template: str, messages: list[Json], user: Any = None) -> str:
    """Returns the prompt of a task about a chat: its last question, its messages and the user are filled in."""
    template = replace_prompt_variable(template, get_last_user_message(messages or []) or "")
    template = replace_messages_variable(template, messages)
    filled: str = prompt_template(template, user)
    return filled


# These tasks fill in the same.
tags_generation_template = follow_up_generation_template = title_generation_template
query_generation_template = image_prompt_generation_template = title_generation_template


@either
def emoji_generation_template(template: str, prompt: str, user: Any = None) -> str:
    """Returns the prompt for an emoji."""
    return str(prompt_template(replace_prompt_variable(template, prompt), user))


@either
def autocomplete_generation_template(
    template: str, prompt: str, messages: list[Json] | None = None, type: str | None = None, user: Any = None
) -> str:
    """Returns the prompt for the rest of what is being written."""
    template = template.replace("{{TYPE}}", type or "")
    template = replace_messages_variable(replace_prompt_variable(template, prompt), messages)
    return str(prompt_template(template, user))


@either
def moa_response_generation_template(template: str, prompt: str, responses: list[str]) -> str:
    """Returns the prompt for one answer of several."""
    said = "\n\n".join(f'"""{response}"""' for response in responses)
    return str(replace_prompt_variable(template, prompt)).replace("{{responses}}", said)


@either
def tools_function_calling_generation_template(template: str, tools_specs: Any) -> str:
    """Returns the prompt for choosing a tool."""
    specs = tools_specs if isinstance(tools_specs, str) else json.dumps(tools_specs, ensure_ascii=False)
    return template.replace("{{TOOLS}}", specs)


@either
def parse_follow_ups(text: str) -> list[str]:
    """Returns the questions in a model's answer to the prompt for them: a JSON object with ``follow_ups``."""
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1]).get("follow_ups") or []
    except (ValueError, AttributeError):
        return []
    return [question for question in found if isinstance(question, str)]
