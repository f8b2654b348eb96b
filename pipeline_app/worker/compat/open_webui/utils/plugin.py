"""Sources of functions as text: their header, and their old imports."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_PAIR = re.compile(r"^\s*([a-z_]+):\s*(.*)\s*$", re.IGNORECASE)
_QUOTES = '"""'
_OLD = re.compile(r"\b(from|import)(\s+)(utils|apps|main|config)\b(?=[.\s])")


def extract_frontmatter(content: str) -> dict[str, str]:
    """Returns the pairs of a source's header; none where its first line is not three double quotes."""
    lines = content.splitlines()
    if not lines or lines[0].strip() != _QUOTES:
        return {}
    found: dict[str, str] = {}
    for line in lines[1:]:
        if _QUOTES in line:
            break
        if pair := _PAIR.match(line):
            found[pair.group(1).strip()] = pair.group(2).strip()
    return found


def replace_imports(content: str) -> str:
    """Returns a source with imports from the time before ``open_webui`` under that name."""
    return _OLD.sub(lambda found: f"{found.group(1)}{found.group(2)}open_webui.{found.group(3)}", content)


def resolve_valves_schema_options(valves_class: Any, schema: dict[str, Any], user: Any = None) -> dict[str, Any]:
    """Returns a schema whose options that are a method's name are what that method gives."""
    for described in (schema.get("properties") or {}).values():
        given = described.get("input")
        name = given.get("options") if isinstance(given, dict) else None
        method = getattr(valves_class, name, None) if isinstance(name, str) and name else None
        if callable(method):
            options = _called(method, user)
            if isinstance(options, list):
                described["input"] = {"type": "select", **given, "options": options}
    return schema


def _called(method: Callable[..., Any], user: Any) -> Any:
    import inspect

    wanted = inspect.signature(method).parameters
    return method(**{name: user for name in ("__user__", "user") if name in wanted})
