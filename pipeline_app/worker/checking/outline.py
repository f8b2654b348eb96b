"""The function's class as the text shows it: which one it is, its methods and attributes, without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from ..loader import CLASSES
from .findings import function_of

Method = ast.FunctionDef | ast.AsyncFunctionDef


class Outline:
    """What the top level of a source defines, and the class that makes it a function."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.classes: dict[str, ast.ClassDef] = {}
        self.names: dict[str, ast.AST] = {}
        self.has_star = False
        for statement in statements(tree.body):
            self._add(statement)
        kinds = [(name, kind) for name, kind in CLASSES if name in self.names]
        self.kind = kinds[0][1] if kinds else None
        self.kinds = [name for name, _ in kinds]
        self.function = self.classes.get(kinds[0][0]) if kinds else None
        """The class; None where there is none, or where its name is bound in another way."""
        self.bases: list[ast.ClassDef] = []
        """The class and those of its bases that stand in the same source."""
        self.is_whole = self.function is not None
        """Whether all that the class has can be seen here: no foreign bases, decorators or metaclass."""
        if self.function is not None:
            self._follow(self.function)
        self.members: dict[str, ast.AST] = {}
        """Methods, nested classes and what is assigned in the class's body, the class's own before those of bases."""
        for base in self.bases:
            for name, node in _members(base):
                self.members.setdefault(name, node)
        self.attributes = {name for base in self.bases for name in _own_attributes(base)}
        """Names that methods set on ``self``."""

    def _add(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ClassDef):
            self.classes[statement.name] = statement
            self.names[statement.name] = statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                self.has_star |= alias.name == "*"
                self.names[alias.asname or alias.name.partition(".")[0]] = statement
        elif function_of(statement):
            self.names[statement.name] = statement  # type: ignore[attr-defined]  # it is a function
        else:
            for name in assigned(statement):
                self.names[name] = statement

    def _follow(self, kind: ast.ClassDef) -> None:
        if kind in self.bases:
            return
        self.bases.append(kind)
        self.is_whole &= not kind.decorator_list and not kind.keywords
        for base in kind.bases:
            known = self.classes.get(base.id) if isinstance(base, ast.Name) else None
            if known is not None:
                self._follow(known)
            elif not (isinstance(base, ast.Name) and base.id == "object"):
                self.is_whole = False

    def method(self, name: str) -> Method | None:
        """Returns a method by name; None when there is none, or something else of that name."""
        found = self.members.get(name)
        return found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None

    def has(self, name: str) -> bool:
        """Whether the class, or one of its methods, binds a name."""
        return name in self.members or name in self.attributes

    def nested(self, name: str) -> ast.ClassDef | None:
        """Returns a class that stands in the function's class, or one outside that it names there."""
        found = self.members.get(name)
        if isinstance(found, ast.ClassDef):
            return found
        if isinstance(found, ast.Assign) and isinstance(found.value, ast.Name):
            return self.classes.get(found.value.id)
        return None


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields statements and those in their ``if``, ``try`` and ``with`` blocks, which bind names at the same level."""
    waiting = list(body)[::-1]
    while waiting:
        statement = waiting.pop()
        yield statement
        inner: list[ast.stmt] = []
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            inner += statement.body
            inner += getattr(statement, "orelse", [])
            for handler in getattr(statement, "handlers", []):
                inner += handler.body
            inner += getattr(statement, "finalbody", [])
        waiting += inner[::-1]


def assigned(statement: ast.stmt) -> Iterator[str]:
    """Yields the plain names that an assignment binds."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = list(statement.targets)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Tuple | ast.List):
            targets += target.elts


def _members(kind: ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    found: dict[str, ast.AST] = {}
    for statement in statements(kind.body):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[statement.name] = statement
        else:
            for name in assigned(statement):
                found[name] = statement
    return iter(found.items())


def _own_attributes(kind: ast.ClassDef) -> Iterator[str]:
    """Yields the attributes that the class sets on ``self`` anywhere, ``setattr`` with a plain name included."""
    for node in ast.walk(kind):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "setattr"
            and len(node.args) > 1
            and isinstance(node.args[1], ast.Constant)
            and isinstance(node.args[1].value, str)
        ):
            yield node.args[1].value
