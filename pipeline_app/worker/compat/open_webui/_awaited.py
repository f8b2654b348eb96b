"""Whether a caller awaits what it is about to get.

Methods that ask the server were plain functions for years and are coroutines today, and functions of both kinds
are about. The place of the call tells which kind this one is.
"""

from __future__ import annotations

import ast
import dis
import linecache
import weakref
from collections.abc import Iterator
from types import CodeType, FrameType

TAKERS = frozenset(
    {
        "as_completed",
        "create_task",
        "ensure_future",
        "gather",
        "run_coroutine_threadsafe",
        "run_until_complete",
        "shield",
        "wait",
        "wait_for",
    }
)
"""What takes coroutines as arguments, under whatever module's name."""
FILES_KEPT = 64

Place = tuple[int, int, int, int]

_CACHE = dis.opmap["CACHE"]
_AWAIT = dis.opmap["GET_AWAITABLE"]

_known: weakref.WeakKeyDictionary[CodeType, dict[int, bool]] = weakref.WeakKeyDictionary()
_files: dict[str, tuple[list[str], frozenset[Place]]] = {}


def is_awaited(caller: FrameType) -> bool:
    """Returns whether the call that a frame is making right now is awaited, there or a little later."""
    places = _known.setdefault(caller.f_code, {})
    at = caller.f_lasti
    if at not in places:
        places[at] = _is_followed_by_await(caller.f_code, at) or _is_handed_on(caller.f_code, at)
    return places[at]


def _is_followed_by_await(code: CodeType, at: int) -> bool:
    steps = code.co_code
    following = at + 2
    while following < len(steps) and steps[following] == _CACHE:
        following += 2
    return following < len(steps) and steps[following] == _AWAIT


def _is_handed_on(code: CodeType, at: int) -> bool:
    lines = linecache.getlines(code.co_filename) if code.co_filename.startswith("/functions/") else []
    if not lines:
        return False
    kept, places = _files.get(code.co_filename, ([], frozenset()))
    if kept is not lines:
        places = frozenset(_places(lines))
        if len(_files) >= FILES_KEPT:
            _files.clear()
        _files[code.co_filename] = lines, places
    line, end_line, column, end_column = list(code.co_positions())[at // 2]
    return (line, end_line, column, end_column) in places


def _places(lines: list[str]) -> Iterator[Place]:
    """Yields where a source has calls whose results go to asyncio, or to a name that is awaited."""
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return
    for scope in ast.walk(tree):
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)):
            taken = [expression for node in _of_scope(scope) for expression in _taken(node)]
            names = {expression.id for expression in taken if isinstance(expression, ast.Name)}
            taken += [node.value for node in _of_scope(scope) if _assigned(node) & names]  # type: ignore[attr-defined]
            for expression in taken:
                if isinstance(expression, ast.Call) and expression.end_lineno and expression.end_col_offset:
                    yield expression.lineno, expression.end_lineno, expression.col_offset, expression.end_col_offset


def _of_scope(scope: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _of_scope(child)


def _taken(node: ast.AST) -> Iterator[ast.expr]:
    """Yields the expressions that a node awaits or gives to asyncio."""
    if isinstance(node, ast.Await):
        yield node.value
    elif isinstance(node, ast.Call) and _takes_coroutines(node.func):
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            yield from _elements(argument)


def _elements(expression: ast.expr) -> Iterator[ast.expr]:
    match expression:
        case ast.Starred(value=inner):
            yield from _elements(inner)
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            for element in elements:
                yield from _elements(element)
        case ast.ListComp(elt=element) | ast.SetComp(elt=element) | ast.GeneratorExp(elt=element):
            yield from _elements(element)
        case _:
            yield expression


def _takes_coroutines(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Name(id="asyncio"), attr="run"):
            return True
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in TAKERS
    return False


def _assigned(node: ast.AST) -> set[str]:
    match node:
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()) | ast.NamedExpr(target=ast.Name(id=name)):
            return {name}
    return set()
