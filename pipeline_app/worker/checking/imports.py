"""What a source imports, where and when, and whether it is there: the server knows what that means."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Any

from ..legacy import LEGACY, resolves
from .findings import Text

MOST = 500
"""How many imports are told of one source."""
OURS = frozenset(("open_webui", "__future__"))
NAMESPACES = frozenset(("google", "google.cloud", "azure"))
_CAUGHT = frozenset(("ImportError", "ModuleNotFoundError", "Exception", "BaseException"))


def found(tree: ast.Module, text: Text) -> list[dict[str, Any]]:
    """Returns ``[{"module", "line", "column", "end_line", "end_column", "when", "there"}]``.

    ``when`` is ``load`` for imports that loading makes, ``call`` for those in functions, ``maybe`` for those whose
    failure is caught or that only type checkers see. ``there`` says whether the module can be found.
    """
    known: dict[str, bool] = {}
    listed: list[dict[str, Any]] = []
    for node, module, when in _imports(tree, "load"):
        if len(listed) == MOST:
            break
        if module not in known:
            known[module] = _is_there(module)
        place = text.at(node, "undeclared-import", "")
        listed.append(
            {
                "module": module[:200],
                "line": place.line,
                "column": place.column,
                "end_line": place.end_line,
                "end_column": place.end_column,
                "when": when,
                "there": known[module],
            }
        )
    return listed


def _imports(node: ast.AST, when: str) -> Iterator[tuple[ast.stmt, str, str]]:
    """Yields the absolute imports below a node, without recursion: a tree may be deeper than the stack."""
    waiting: list[tuple[ast.AST, str]] = [(node, when)]
    while waiting:
        parent, when = waiting.pop()
        following: list[tuple[ast.AST, str]] = []
        for child in ast.iter_child_nodes(parent):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield child, alias.name, _when(parent, child, when)
            elif isinstance(child, ast.ImportFrom):
                if child.level == 0 and child.module:
                    for module in _modules(child.module, child.names):
                        yield child, module, _when(parent, child, when)
            else:
                following.append((child, _when(parent, child, when)))
        waiting += reversed(following)


def _modules(module: str, names: list[ast.alias]) -> list[str]:
    """Returns what ``from module import names`` needs; below a namespace, which any package may add to, the names."""
    if module.partition(".")[0] in LEGACY:
        return ["open_webui"]
    if module in NAMESPACES:
        return [f"{module}.{alias.name}" for alias in names]
    return [module]


def _when(parent: ast.AST, child: ast.AST, when: str) -> str:
    if when == "maybe":
        return when
    if isinstance(parent, ast.Try):
        # What stands in place of a failed import may fail too, and says so by itself.
        if child in parent.body and any(map(_catches, parent.handlers)):
            return "maybe"
        if isinstance(child, ast.ExceptHandler) and _catches(child):
            return "maybe"
    if isinstance(parent, ast.If) and _is_type_checking(parent.test):
        return "maybe" if child in parent.body else when
    if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return "call"
    return when


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id in _CAUGHT for kind in types)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_there(module: str) -> bool:
    top = module.partition(".")[0]
    if top in OURS or top in sys.stdlib_module_names:
        return True
    # A namespace package, such as google, has no module of its own: the whole path is looked for.
    return resolves(top) or resolves(module)
