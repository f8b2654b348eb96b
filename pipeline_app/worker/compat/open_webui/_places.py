"""Where a source has calls whose results are awaited, although nothing at the call itself says so.

Such as arguments of ``asyncio.gather``, what is bound to a name that is awaited later, and arguments of the source's
own functions that await them. What is found too much does no harm to other calls: only methods that can be called
both ways look here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

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
        "wrap_future",
    }
)
"""What takes coroutines as arguments, under whatever module's name."""
ADDERS = frozenset({"add", "append", "appendleft", "extend", "insert", "put_nowait", "setdefault"})
"""Methods of collections that take what is taken out of them later."""
ROUNDS = 8
"""How many steps a coroutine is followed from name to name, and from function to function."""

Place = tuple[int | None, int | None]
"""Where a call ends, its line and column: no two calls end at the same place."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_BINDINGS = (ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.AugAssign)
_TELLING = (*_FUNCTIONS, *_BINDINGS, ast.Await, ast.Call, ast.For, ast.comprehension)


class _Scope:
    """A function or the module: the nodes of its own, the names that it binds, and those whose values are awaited."""

    def __init__(self, node: ast.AST, outer: _Scope | None) -> None:
        self.node = node
        self.outer = outer
        self.nodes = list(_of_scope(node))
        self.bound = {target.id for child in self.nodes for target, _ in _bound(child) if isinstance(target, ast.Name)}
        self.bound |= set(_parameters(node))
        self.names: set[str] = set()

    def note(self, name: str) -> None:
        """Keeps the name of an awaited value, where it belongs."""
        scope: _Scope | None = self
        while scope is not None and scope.outer is not None and name not in scope.bound:
            scope = scope.outer
        if scope is not None:
            scope.names.add(name)

    def awaits(self, name: str) -> bool:
        """Returns whether a name of this scope, or one around it, stands for an awaited value."""
        return name in self.names or (name not in self.bound and self.outer is not None and self.outer.awaits(name))


def handed_on(lines: Iterable[str]) -> frozenset[Place]:
    """Returns where the calls of a source end whose results are awaited elsewhere; none where Python can't read it."""
    try:
        source = _Source(ast.parse("".join(lines)))
        return frozenset(
            (expression.end_lineno, expression.end_col_offset)
            for expression in source.taken()
            if isinstance(expression, ast.Call)
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return frozenset()


class _Source:
    def __init__(self, tree: ast.Module) -> None:
        self._runners = {"asyncio.run"} | set(_runners(tree))
        self._scopes = list(_scopes(tree, None))
        self._attributes: set[str] = set()
        self._parameters: dict[str, set[str | int]] = {}

    def taken(self) -> Iterator[ast.expr]:
        """Yields the expressions whose values are awaited: first of all names, then what is bound to them."""
        for _ in range(ROUNDS):
            before = self._size()
            for scope in self._scopes:
                for expression in self._in(scope):
                    self._note(scope, expression)
                self._note_parameters(scope)
            if self._size() == before:
                break
        for scope in self._scopes:
            yield from self._in(scope)

    def _size(self) -> int:
        found = sum(len(scope.names) for scope in self._scopes) + len(self._attributes)
        return found + sum(len(awaited) for awaited in self._parameters.values())

    def _note(self, scope: _Scope, expression: ast.expr) -> None:
        """Keeps the name that stands for an awaited value, or for the collection that it is taken out of."""
        match expression:
            case ast.Name(id=name):
                scope.note(name)
            case ast.Attribute(value=ast.Name(id=("self" | "cls") as owner), attr=name):
                self._attributes.add(f"{owner}.{name}")
            case ast.Subscript(value=inner) | ast.Call(func=ast.Attribute(value=inner, attr="values" | "pop" | "get")):
                self._note(scope, inner)

    def _note_parameters(self, scope: _Scope) -> None:
        """Keeps which parameters a function of the source awaits."""
        if isinstance(scope.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [name for name in _parameters(scope.node) if name not in ("self", "cls")]
            awaited = self._parameters.setdefault(scope.node.name, set())
            awaited |= {key for place, name in enumerate(names) if name in scope.names for key in (place, name)}

    def _in(self, scope: _Scope) -> Iterator[ast.expr]:
        for node in scope.nodes:
            match node:
                case ast.Await(value=value):
                    yield from _elements(value)
                case ast.Call():
                    for argument in self._taken_by(node, scope):
                        yield from _elements(argument)
                case (
                    ast.For(target=ast.Name(id=name), iter=value)
                    | ast.comprehension(target=ast.Name(id=name), iter=value)
                ) if scope.awaits(name):
                    yield from _elements(value)
                case _:
                    for target, value in _bound(node):
                        if self._is_awaited(target, scope):
                            yield from _elements(value)

    def _is_awaited(self, target: ast.expr, scope: _Scope) -> bool:
        match target:
            case ast.Name(id=name):
                return scope.awaits(name)
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                return f"{owner}.{name}" in self._attributes
            case ast.Subscript(value=inner):
                return self._is_awaited(inner, scope)
        return False

    def _taken_by(self, call: ast.Call, scope: _Scope) -> Iterator[ast.expr]:
        """Yields the arguments of a call that are awaited."""
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        # asyncio.run(x); pool.submit(asyncio.run, x)
        taker = self._takes(call.func) or any(self._takes(argument) for argument in arguments)
        adder = isinstance(call.func, ast.Attribute) and name in ADDERS and self._is_awaited(call.func.value, scope)
        if taker or adder:
            yield from arguments
        else:
            awaited = self._parameters.get(name, ())
            yield from (value for place, value in enumerate(call.args) if place in awaited)
            yield from (keyword.value for keyword in call.keywords if keyword.arg in awaited)

    def _takes(self, function: ast.expr) -> bool:
        match function:
            case ast.Attribute(value=ast.Name(id=owner), attr="run"):
                return f"{owner}.run" in self._runners
            case ast.Attribute(attr=name):
                return name in TAKERS
            case ast.Name(id=name):
                return name in TAKERS or name in self._runners
        return False


def _runners(tree: ast.Module) -> Iterator[str]:
    """Yields what a source calls ``asyncio.run``, and the ``run`` of its ``asyncio.Runner``s."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"{alias.asname}.run" for alias in names if alias.name == "asyncio" and alias.asname)
            case ast.ImportFrom(module="asyncio", names=names):
                yield from (alias.asname or alias.name for alias in names if alias.name == "run")
            case (
                ast.withitem(context_expr=ast.Call(func=made), optional_vars=ast.Name(id=name))
                | ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=made))
            ) if "Runner" in (getattr(made, "attr", ""), getattr(made, "id", "")):
                yield f"{name}.run"


def _scopes(node: ast.AST, outer: _Scope | None) -> Iterator[_Scope]:
    scope = _Scope(node, outer)
    yield scope
    for child in scope.nodes:
        if isinstance(child, _FUNCTIONS):
            yield from _scopes(child, scope)


def _parameters(node: ast.AST) -> list[str]:
    """Returns the names of a function's parameters, those first that have a place."""
    if not isinstance(node, _FUNCTIONS):
        return []
    given = node.args
    return [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _of_scope(scope: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes of a scope's own that can say something, and the functions in it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, _TELLING):
            yield node
        if not isinstance(node, _FUNCTIONS):
            waiting += ast.iter_child_nodes(node)


def _elements(expression: ast.expr | None) -> Iterator[ast.expr]:
    """Yields what an expression may turn out to be, or consists of."""
    match expression:
        case None:
            return
        case ast.Starred(value=inner) | ast.NamedExpr(value=inner):
            yield from _elements(inner)
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            for element in elements:
                yield from _elements(element)
        case ast.Dict(values=elements) | ast.BoolOp(values=elements):
            for element in elements:
                yield from _elements(element)
        case ast.ListComp(elt=element) | ast.SetComp(elt=element) | ast.GeneratorExp(elt=element):
            yield from _elements(element)
        case ast.DictComp(value=element):
            yield from _elements(element)
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
            yield from _elements(one)
            yield from _elements(other)
        case ast.Call(func=ast.Name(id="list" | "tuple" | "set"), args=[inner]):
            yield from _elements(inner)
        case _:
            yield expression


def _bound(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yields what a statement binds, each target with its value."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    yield from zip(target.elts, value.elts, strict=False)
                else:
                    yield target, value
        case (
            ast.AnnAssign(target=target, value=ast.expr() as value)
            | ast.NamedExpr(target=target, value=value)
            | ast.AugAssign(target=target, value=value)
        ):
            yield target, value
