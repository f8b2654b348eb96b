"""Valves and user valves: whether they can be set, shown and given, as the text shows them and as they are loaded."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Iterator
from typing import Any

from ..jsonable import jsonable
from ..loader import Loaded
from ..tracebacks import text_of
from ..valves import SCOPES, is_first, model_of
from .findings import Finding, Text, anywhere
from .outline import Outline

KNOWN_WHEN_LOADED = frozenset(("valves-no-model", "valves-not-set", "valves-misplaced"))
"""What the text alone lets guess: once the function is loaded, only what is found there counts."""


def of_class(outline: Outline, text: Text) -> Iterator[Finding]:
    """Yields what the text alone shows, for a source that may not load."""
    if outline.function is None:
        return
    for scope, name in SCOPES.items():
        node = outline.nested(name)
        if node is not None:
            if not node.bases:
                yield text.named(node, "valves-no-model", _no_model(name))
            if scope == "valves" and outline.is_whole and not outline.has("valves"):
                yield text.named(node, "valves-not-set", _not_set())
        elif outline.is_whole and not outline.has(name) and name in outline.classes:
            yield text.named(outline.classes[name], "valves-misplaced", _misplaced(name, outline.function.name))


def of_loaded(loaded: Loaded, outline: Outline, text: Text) -> Iterator[Finding]:
    """Yields what is wrong with the models of a loaded function; each in its place, where the text has it."""

    def at(node: ast.AST | None, code: str, message: str) -> Finding:
        return anywhere(code, message) if node is None else text.named(node, code, message)

    for scope, name in SCOPES.items():
        model, node = model_of(loaded, scope), outline.nested(name)
        if model is None:
            top = outline.classes.get(name)
            if top is not None and hasattr(loaded.module, name):
                kind = type(loaded.instance).__name__
                yield text.named(top, "valves-misplaced", _misplaced(name, kind))
            continue
        if is_first(model):
            continue  # what follows knows later models
        fields = getattr(model, "model_fields", None)
        if not isinstance(fields, dict) or not callable(getattr(model, "model_json_schema", None)):
            yield at(node, "valves-no-model", _no_model(name))
            continue
        places = _fields(node)
        for code, message, field in _model(model, name, fields):
            yield at(places.get(field, node), code, message)
        if scope == "valves" and (problem := _priority(fields)) is not None:
            yield at(places.get("priority", node), "valves-priority", problem)
    node = outline.nested("Valves")
    if model_of(loaded, "valves") is not None and not loaded.has_valves:
        yield at(node, "valves-not-set", _not_set())
    if loaded.has_valves and not loaded.valves_are_per_call:
        message = "self.valves is shared by concurrent calls: the class allows no subclass or decides about it itself."
        yield at(outline.function, "valves-shared", message)


def _no_model(name: str) -> str:
    return f"{name} is no pydantic model, so it has no form and nothing checks it: class {name}(BaseModel)."


def _not_set() -> str:
    return (
        "There is a class Valves, but self.valves is never set, so no valves are given to the function: "
        "write self.valves = self.Valves() in __init__."
    )


def _misplaced(name: str, kind: str) -> str:
    return f"{name} stands outside of {kind}, so it is not seen: put it in there, or write {name} = {name} in {kind}."


def _fields(node: ast.ClassDef | None) -> dict[str, ast.stmt]:
    """Returns where the fields of a model stand."""
    if node is None:
        return {}
    return {
        statement.target.id: statement
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


def _model(model: Any, name: str, fields: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields what is wrong with a model as code, sentence and field (empty for all of it)."""
    required = [field for field, info in fields.items() if _is_required(info)]
    for field in required:
        if name == "Valves":
            consequence = "every call fails until somebody sets it"
        else:
            consequence = "users who have not set it get no valves at all"
        yield "valves-required", f"{field} of {name} has no default: {consequence}.", field
    try:
        schema = jsonable(model.model_json_schema())
    except Exception as trouble:
        broken = [field for field, info in fields.items() if _has_no_schema(info)]
        for field in broken or [""]:
            what = f"{field} of {name}" if field else name
            reason = text_of(trouble).splitlines()[0][:300].rstrip(".")
            yield "valves-no-schema", f"{what} has no JSON schema, so there is no form for {name}: {reason}.", field
        return
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for field, entry in properties.items() if isinstance(properties, dict) else ():
        hints = entry.get("input") if isinstance(entry, dict) else None
        offered = hints.get("options") if isinstance(hints, dict) else None
        if isinstance(offered, str) and offered:
            problem = _options(getattr(model, offered, None))
            if problem is not None:
                yield "valves-options", f"The options of {field} come from {offered} of {name}, {problem}.", field


def _is_required(info: Any) -> bool:
    try:
        return bool(info.is_required())
    except Exception:  # somebody else's idea of a field
        return False


def _has_no_schema(info: Any) -> bool:
    from pydantic import TypeAdapter

    try:
        TypeAdapter(info.annotation).json_schema()
    except Exception:
        return True
    return False


def _options(method: Any) -> str | None:
    """Returns what is wrong with a method that offers choices; None when nothing is."""
    if method is None:
        return "which does not exist"
    if not callable(method):
        return "which is no method"
    try:
        asked = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return None
    given = ("__user__", "user")
    open_ended = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    missing = [p.name for p in asked if p.default is p.empty and p.kind not in open_ended and p.name not in given]
    if missing:
        return f"which asks for {', '.join(missing)} and is given __user__ at most; make it a @classmethod"
    if inspect.iscoroutinefunction(method):
        return "which is async; it has to return its list at once"
    return None


def _priority(fields: dict[str, Any]) -> str | None:
    if "priority" not in fields:
        return None
    default = getattr(fields["priority"], "default", None)
    if isinstance(default, int | float) and not isinstance(default, bool) and math.isfinite(default):
        return None
    if _is_required(fields["priority"]):
        return None
    shown = repr(default)[:50] if isinstance(default, str | int | float | bool | None) else type(default).__name__
    return f"priority is {shown} by default, which is no number: it counts as 0. Write priority: int = 0."
