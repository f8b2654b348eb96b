"""What a source says without being run, and the manifest of a function that is loaded."""

from __future__ import annotations

import ast
import inspect
import math
from typing import Any

from .jsonable import jsonable, printed
from .loader import CLASSES, Loaded, parsed
from .tracebacks import describe, text_of
from .valves import is_first, model_of, schema

EXPECTED = {
    "pipe": ("pipe",),
    "filter": ("inlet", "request", "stream", "outlet"),
    "action": ("action", "run"),
    "event": ("event",),
}
"""The methods of each kind that are called, ``run`` being an older name; a function has at least one of them."""


def no_hooks(kind: str) -> str:
    """Returns the sentence about a class without any hook of its kind."""
    hooks = ", ".join(hook for hook in EXPECTED[kind] if hook != "run")
    return f"The class has none of the methods that are called: {hooks}."


def facts(source: str) -> dict[str, Any]:
    """Returns ``{"classes", "imports", "kind", "error"}`` of a source, from its syntax tree alone.

    ``classes`` are the names bound to classes at its top level, ``imports`` the sorted top-level names of its
    absolute imports; ``kind`` is None without a function's class. ``error`` is None, or what keeps it from
    being parsed, in the form of a load error; the rest is empty then.
    """
    text = source.removeprefix("\ufeff")
    try:
        tree = parsed(text, "<unknown>")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        return {"classes": [], "imports": [], "kind": None, "error": describe(exc, "<unknown>")}
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    kind = next((kind for name, kind in CLASSES if name in classes), None)
    return {"classes": classes, "imports": imports(tree), "kind": kind, "error": None}


def imports(tree: ast.AST) -> list[str]:
    """Returns the sorted top-level names of all absolute imports, wherever they stand."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return sorted(names)


def manifest(loaded: Loaded) -> dict[str, Any]:
    """Returns what the server needs to know about a function without asking its code again, in JSON types.

    What an attribute or schema cannot say (it fails, or is no JSON) is left out and named under ``warnings``.
    """
    warnings: list[str] = []
    instance = loaded.instance
    return {
        "kind": loaded.kind,
        "imports": facts(inspect.getsource(loaded.module))["imports"],
        "hooks": {
            plan.hook: {
                "async": plan.is_async,
                "generator": plan.is_generator,
                "parameters": list(plan.parameters),
                "required": list(plan.required),
                "kwargs": plan.kwargs,
            }
            for plan in loaded.plans.values()
        },
        "valves": _schema(loaded, "valves", warnings),
        "user_valves": _schema(loaded, "user_valves", warnings),
        "priority": _priority(loaded),
        "pipes": _pipes(loaded, warnings),
        "name": _text(_attribute(instance, "name", warnings)),
        "toggle": _truth(_attribute(instance, "toggle", warnings)),
        "icon": _text(_attribute(instance, "icon_url", warnings)) or _text(_attribute(instance, "icon", warnings)),
        "file_handler": _truth(_attribute(instance, "file_handler", warnings)),
        "actions": _actions(instance, warnings),
        "warnings": warnings + remarks(loaded),
    }


def _attribute(instance: Any, name: str, warnings: list[str]) -> Any:
    try:
        return getattr(instance, name, None)
    except Exception as exc:
        warnings.append(f"The attribute {name} cannot be read: {text_of(exc)}")
        return None


def _text(value: Any) -> str | None:
    return None if value is None or callable(value) else printed(value) or None


def _truth(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:  # an object of the author's that refuses
        return False


def _schema(loaded: Loaded, scope: str, warnings: list[str]) -> dict[str, Any] | None:
    try:
        return schema(loaded, scope)
    except Exception as exc:
        warnings.append(f"There is no form for {scope}, because their schema cannot be made: {text_of(exc)}")
        return None


def _priority(loaded: Loaded) -> int | float:
    """Returns the default of ``Valves.priority``; 0 when there is none or it is no number."""
    model = model_of(loaded, "valves")
    fields = getattr(model, "__fields__" if is_first(model) else "model_fields", None)
    field = fields.get("priority") if isinstance(fields, dict) else None
    default = getattr(field, "default", None) if field is not None else getattr(model, "priority", 0)
    if isinstance(default, (int, float)) and not isinstance(default, bool) and math.isfinite(default):
        return default
    return 0


def _pipes(loaded: Loaded, warnings: list[str]) -> list[Any] | str | None:
    if loaded.kind != "pipe":
        return None
    found = _attribute(loaded.instance, "pipes", warnings)
    if found is None:
        return None
    if callable(found):
        return "dynamic"
    if not isinstance(found, (list, tuple)):
        warnings.append(
            f"pipes is a {type(found).__name__}; it is a list of {{id, name}} or a method that returns one."
        )
        return None
    listed = []
    for item in found:
        if isinstance(item, dict) and "id" in item and "name" in item:
            listed.append({"id": printed(item["id"]), "name": printed(item["name"])})
        else:
            warnings.append(f"An item of pipes has no id and name: {printed(item)[:100]}")
    return listed


def _actions(instance: Any, warnings: list[str]) -> list[dict[str, Any]]:
    found = _attribute(instance, "actions", warnings)
    if not isinstance(found, (list, tuple)):
        return []
    listed = []
    for item in found:
        try:
            entry = jsonable(item)
        except ValueError as exc:
            warnings.append(f"An item of actions is left out: {exc}")
            continue
        if isinstance(entry, dict) and entry.get("id") is not None:
            listed.append({**entry, "id": str(entry["id"])})
        else:
            warnings.append(f"An item of actions has no id: {printed(item)[:100]}")
    return listed


def remarks(loaded: Loaded) -> list[str]:
    """Returns sentences for the author about what loads but will not do what he expects."""
    said = []
    hooks = EXPECTED[loaded.kind]
    if not any(hook in loaded.plans for hook in hooks):
        said.append(no_hooks(loaded.kind))
    if getattr(loaded.instance, "Valves", None) is not None and not loaded.has_valves:
        said.append(
            "There is a class Valves, but __init__ sets no self.valves, so valves are not given to the function."
        )
    if loaded.has_valves and not loaded.valves_are_per_call:
        said.append(
            "self.valves is shared by concurrent calls: the class allows no subclass or decides about it itself."
        )
    return said
