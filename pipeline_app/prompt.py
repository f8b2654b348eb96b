"""The request as a pipe sees it: without what is meant for the server, with what the preset adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from pipeline_app.context import CONSUMED
from pipeline_app.pipes import Target

if TYPE_CHECKING:
    from pipeline_app.snapshot import Person

Json = dict[str, Any]


def pipe_body(body: Json, target: Target, person: Person, metadata: Json) -> Json:
    """Returns the body for the pipe: the model id it knows, and parameters and system prompt of the preset.

    A parameter of the preset never replaces one that the request has.
    """
    params = metadata.get("params")
    seen = {name: value for name, value in body.items() if name not in CONSUMED}
    for name, value in (params if isinstance(params, dict) else {}).items():
        seen.setdefault(name, value)
    seen["model"] = target.pipe_model
    preset = target.preset
    if preset is None:
        return seen
    stored = dict(preset.params)
    custom = stored.pop("custom_params", None)
    stored.pop("system", None)
    for name, value in {**stored, **(custom if isinstance(custom, dict) else {})}.items():
        if value is not None:
            seen.setdefault(name, value)
    system = render(preset.system or str(preset.params.get("system") or ""), person, metadata)
    if system:
        seen["messages"] = with_system(seen["messages"], system)
    return seen


def with_system(messages: list[Any], system: str) -> list[Any]:
    """Returns messages whose first system message begins with ``system``; one is put in front when there is none."""
    for number, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "system":
            content = message.get("content")
            joined: Any = f"{system}\n{content}" if isinstance(content, str) else content
            if isinstance(content, list):
                joined = [{"type": "text", "text": system}, *content]
            elif content is None:
                joined = system
            return [*messages[:number], {**message, "content": joined}, *messages[number + 1 :]]
    return [{"role": "system", "content": system}, *messages]


def render(template: str, person: Person, metadata: Json) -> str:
    """Returns a system prompt with ``{{USER_NAME}}``, ``{{CURRENT_DATE}}`` and the request's variables filled in."""
    if "{{" not in template:
        return template
    now = timezone.localtime()
    values = {
        "{{USER_NAME}}": person.user.get("name") or "",
        "{{USER_EMAIL}}": person.user.get("email") or "",
        "{{CURRENT_DATE}}": f"{now:%Y-%m-%d}",
        "{{CURRENT_TIME}}": f"{now:%H:%M:%S}",
        "{{CURRENT_DATETIME}}": f"{now:%Y-%m-%d %H:%M:%S}",
        "{{CURRENT_WEEKDAY}}": f"{now:%A}",
    }
    given = metadata.get("variables")
    for name, value in (given if isinstance(given, dict) else {}).items():
        values[name] = str(value)
    for name, value in values.items():
        template = template.replace(name, value)
    return template
