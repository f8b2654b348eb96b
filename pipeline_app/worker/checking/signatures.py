"""Hooks and how they want to be called: what would fail with the first call, found before it."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Sequence
from inspect import Parameter
from typing import Any

from ..arguments import TABLE
from ..hooks import BODY_HOOKS
from ..inspection import EXPECTED, no_hooks
from ..loader import Loaded
from ..plans import HOOKS, keyword_of, payload_of
from .findings import CODES, Finding, Text, anywhere
from .outline import Method, Outline

_FOREIGN = {"Tools": "a tool kit", "Pipeline": "a Pipelines server plugin"}
_PLAIN = frozenset(("staticmethod", "classmethod"))
_INSTEAD_OF_BODY = frozenset(("__body__", "__messages__", "__task_body__", "__event__", "__metadata__"))
"""Special arguments that say what the payload would."""

Complaint = tuple[str, str, str, str | None]
"""Code, severity (empty for the usual one), sentence, and the parameter that it is about."""


def of_class(outline: Outline, text: Text) -> Iterator[Finding]:
    """Yields what is wrong with the function's class and its hooks, as the text shows them."""
    if outline.kind is None:
        if not outline.has_star:
            yield _no_class(outline, text)
        return
    if len(outline.kinds) > 1:
        first, *others = outline.kinds
        for other in others:
            node = outline.classes.get(other)
            if node is not None and _has_hook_of(node, other):
                message = f"There is a class {first} too, so the source is a {outline.kind} and {other} is never used."
                yield text.named(node, "several-classes", message)
    if outline.function is None:
        return
    yield from _hooks(outline, text)
    if outline.is_whole and not any(outline.has(hook) for hook in EXPECTED[outline.kind]):
        yield text.named(outline.function, *_no_hooks(outline.kind, outline.members))


def _no_class(outline: Outline, text: Text) -> Finding:
    message = "There is no class Pipe, Filter, Action or Event at the top level of the source."
    for name, what in _FOREIGN.items():
        if name in outline.classes:
            return text.named(
                outline.classes[name], "no-class", f"This is {what} (class {name}), not a function. {message}"
            )
    for name, node in outline.classes.items():
        near = difflib.get_close_matches(name.capitalize(), ["Pipe", "Filter", "Action", "Event"], 1, 0.8)
        if near:
            return text.named(node, "no-class", f"{message} Did you mean to call this one {near[0]}?")
    return anywhere("no-class", f"{message} Define one of them.")


def _has_hook_of(node: ast.ClassDef, name: str) -> bool:
    kind = name.lower()
    return any(getattr(statement, "name", None) in EXPECTED[kind] for statement in node.body)


def _no_hooks(kind: str, members: Any) -> tuple[str, str, str]:
    hooks = EXPECTED[kind]
    message = no_hooks(kind)
    for name in members:
        near = difflib.get_close_matches(name.lower(), hooks, 1, 0.8)
        if near and name not in HOOKS:
            message += f" Did you mean to call {name} {near[0]}?"
            break
    return "no-hooks", message, "error" if kind == "pipe" else "warning"


def _hooks(outline: Outline, text: Text) -> Iterator[Finding]:
    for hook in HOOKS:
        node = outline.members.get(hook)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _method(hook, node, text, outline)
        elif (
            isinstance(node, ast.Assign | ast.AnnAssign)
            and isinstance(node.value, ast.Constant | ast.Dict | ast.List)
            and hook in EXPECTED[outline.kind or ""]
        ):
            yield text.at(node, "hook-not-callable", f"{hook} is no method, so it is never called.")


def _method(hook: str, node: Method, text: Text, outline: Outline) -> Iterator[Finding]:
    decorators = {getattr(decorator, "id", "?") for decorator in node.decorator_list}
    if decorators - _PLAIN:
        return  # what is called may have another signature: looked at once it is loaded
    found = parameters(node.args)
    if "staticmethod" not in decorators:
        first = found[0] if found else None
        if first is None or first.kind is Parameter.KEYWORD_ONLY or first.kind is Parameter.VAR_KEYWORD:
            message = f"{hook} takes no self, so every call of it fails. Write def {hook}(self, ...)."
            yield text.named(node, "missing-self", message)
            return
        if first.kind is not Parameter.VAR_POSITIONAL:
            if first.name in ("body", "event") or first.name in TABLE:
                message = f"The first parameter of {hook} is {first.name}, where self belongs: def {hook}(self, ...)."
                yield text.named(node, "missing-self", message)
                return
            found = found[1:]
    named = {argument.arg: argument for argument in _arguments(node.args)}
    for code, severity, message, name in complaints(hook, found):
        if name in named:
            yield text.at(named[name], code, message, severity)
        else:
            yield text.named(node, code, message, severity)
    if (hook in BODY_HOOKS or hook == "stream") and hook in EXPECTED[outline.kind or ""] and _yields(node):
        what = "an event" if hook == "stream" else "the body"
        message = f"{hook} contains yield, so it returns a generator; it has to return {what}."
        yield text.named(node, "generator-hook", message)


def of_loaded(loaded: Loaded, outline: Outline, text: Text) -> Iterator[Finding]:
    """Yields what only the loaded function shows: hooks that are inherited, decorated, or made some other way."""
    kind = loaded.kind
    hooks = EXPECTED[kind]
    if not outline.is_whole and not any(hook in loaded.plans for hook in hooks):
        members = [name for name in dir(loaded.instance) if not name.startswith("_")]
        code, message, severity = _no_hooks(kind, members)
        yield anywhere(code, message, severity)
    for hook, plan in loaded.plans.items():
        method = outline.method(hook)
        if method is not None and {getattr(one, "id", "?") for one in method.decorator_list} <= _PLAIN:
            continue  # said already, with its place
        for code, severity, message, _ in complaints(hook, plan.signature):
            if method is not None:
                yield text.named(method, code, message, severity)
            else:
                yield Finding(code, severity or CODES[code].severity, message, _line_of(plan.call, loaded.filename))
    for hook in hooks:
        held = _attribute(loaded.instance, hook)
        if held is not None and not callable(held) and hook not in outline.members:
            yield anywhere("hook-not-callable", f"{hook} is a {type(held).__name__}, so it is never called.")


def complaints(hook: str, found: Sequence[Parameter]) -> Iterator[Complaint]:
    """Yields what is wrong with the parameters of a hook, without ``self``."""
    named = [p for p in found if p.kind not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)]
    keyword, payload = keyword_of(hook), payload_of(hook, found)
    if keyword is not None and payload is None:
        if hook != "event" and not any(p.name in _INSTEAD_OF_BODY for p in named):
            yield "missing-body", "", f"{hook} takes no {keyword}, so it does not see what it is called with.", None
    elif payload != keyword and keyword is not None:
        name = payload or (named[0].name if named else "*args")
        said = f"{hook} takes what it is called with as {name}; Open WebUI passes it as {keyword} and nothing else."
        yield "payload-name", "", said, payload or None
    if payload == "" and named and named[0].kind is Parameter.POSITIONAL_ONLY:
        payload = named[0].name
    for parameter in named:
        if parameter.name == payload:
            continue
        entry = TABLE.get(parameter.name)
        if entry is not None and entry.serves(hook) and parameter.kind is not Parameter.POSITIONAL_ONLY:
            continue
        required = parameter.default is Parameter.empty
        if required or _looks_special(parameter.name):
            severity = "" if required else "warning"
            yield "unknown-argument", severity, _never_given(hook, parameter, required), parameter.name


def _looks_special(name: str) -> bool:
    return len(name) > 4 and name.startswith("__") and name.endswith("__")


def _never_given(hook: str, parameter: Parameter, required: bool) -> str:
    name = parameter.name
    entry = TABLE.get(name)
    if parameter.kind is Parameter.POSITIONAL_ONLY:
        said = f"{hook} asks for {name} by position, and only the payload is given so."
    elif entry is not None:
        said = f"{name} is given to {' and '.join(sorted(entry.hooks))} only, not to {hook}."
    else:
        said = f"{hook} asks for {name}, which is neither its payload nor a special argument."
        near = difflib.get_close_matches(name, TABLE, 1, 0.75)
        if near:
            said += f" Did you mean {near[0]}?"
    if required:
        return f"{said} It has no default, so every call fails."
    return f"{said} It always has its default."


def parameters(args: ast.arguments) -> list[Parameter]:
    """Returns the parameters of a definition as ``inspect`` describes them; any default stands for a default."""
    positional = [*args.posonlyargs, *args.args]
    without = len(positional) - len(args.defaults)
    found = []
    for index, argument in enumerate(positional):
        kind = Parameter.POSITIONAL_ONLY if index < len(args.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD
        found.append(Parameter(argument.arg, kind, default=Parameter.empty if index < without else None))
    if args.vararg is not None:
        found.append(Parameter(args.vararg.arg, Parameter.VAR_POSITIONAL))
    for argument, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        given = Parameter.empty if default is None else None
        found.append(Parameter(argument.arg, Parameter.KEYWORD_ONLY, default=given))
    if args.kwarg is not None:
        found.append(Parameter(args.kwarg.arg, Parameter.VAR_KEYWORD))
    return found


def _arguments(args: ast.arguments) -> Iterator[ast.arg]:
    yield from (*args.posonlyargs, *args.args, *args.kwonlyargs)
    yield from (extra for extra in (args.vararg, args.kwarg) if extra is not None)


def _yields(node: Method) -> bool:
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        found = waiting.pop()
        if isinstance(found, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(found)
    return False


def _line_of(method: Any, filename: str) -> int | None:
    code = getattr(getattr(method, "__func__", method), "__code__", None)
    line = getattr(code, "co_firstlineno", None)
    return line if getattr(code, "co_filename", None) == filename and isinstance(line, int) else None


def _attribute(instance: Any, name: str) -> Any:
    try:
        return getattr(instance, name, None)
    except Exception:  # a property that fails is told of by the manifest
        return None
