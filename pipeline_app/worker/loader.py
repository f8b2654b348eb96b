"""Source text to a module and the one instance of its function, through ``importlib``."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import io
import linecache
import sys
from collections.abc import Iterable, Mapping
from types import CodeType, ModuleType
from typing import Any

from . import compat, output
from . import imports as import_rule
from .errors import Interrupted, LoadError
from .legacy import rewritten
from .plans import Plan, plans
from .scope import per_call
from .threads import Threads
from .tracebacks import describe

CLASSES = (("Pipe", "pipe"), ("Filter", "filter"), ("Action", "action"), ("Event", "event"))


class Loaded:
    """One loaded version of a function: its module, its instance, and how its hooks want to be called."""

    def __init__(
        self, function_id: str, number: int, source: str, module: ModuleType, kind: str, instance: Any
    ) -> None:
        self.function_id = function_id
        self.number = number
        self.module = module
        self.kind = kind
        self.instance = instance
        self.filename = str(module.__file__)
        self.plans: dict[str, Plan] = {}
        self.threads = Threads(f"{function_id} v{number}")
        self.has_valves = False
        self.valves_are_per_call = False
        self.has_user_valves = False
        self._lines = list(io.StringIO(source, newline=None))
        self._length = len(source)

    def remember_lines(self) -> None:
        """Puts the source where tracebacks look for it; another text of the same name and number may lie there."""
        linecache.cache[self.filename] = (self._length, None, self._lines, self.filename)

    def failure(self, exc: BaseException) -> dict[str, Any]:
        """Returns an exception of this function as data, see ``tracebacks.describe``."""
        self.remember_lines()
        return describe(exc, self.filename)


class _TextLoader(importlib.abc.SourceLoader):
    """Loads a module from text that lies in no file."""

    def __init__(self, filename: str, text: str) -> None:
        self._filename = filename
        self._text = text

    def get_filename(self, fullname: str) -> str:
        return self._filename

    def get_data(self, path: str | bytes) -> bytes:
        if path != self._filename:
            raise FileNotFoundError(path)
        return self._text.encode()

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_code(self, fullname: str) -> CodeType:
        # not through bytes: a coding line in the text must not decode it a second time
        tree = parsed(self._text, self._filename)
        return compile(rewritten(tree), self._filename, "exec", dont_inherit=True)


def parsed(text: str, filename: str) -> ast.Module:
    """Returns the syntax tree. CPython 3.11's parser may lose count when a collection runs meanwhile, and says so."""
    for _ in range(3):
        try:
            return ast.parse(text, filename)
        except SystemError:
            continue
    return ast.parse(text, filename)


def load(
    function_id: str, number: int, sha256: str, source: str, imports: Mapping[str, Iterable[str]] | None = None
) -> Loaded:
    """Returns the loaded function. Raises ``LoadError`` for whatever goes wrong, also ``sys.exit()`` in the source.

    ``imports`` is the rule for what its module may import, ``{}`` or ``{"allow" | "deny": top-level modules}``. The
    module is found in ``sys.modules`` while it runs, as its classes expect, and stays only if all went well.
    """
    output.install()
    compat.install()
    filename = f"/functions/{function_id}/v{number}.py"
    name = f"function_{function_id}_v{number}_{sha256[:8]}"
    text = source.removeprefix("\ufeff")
    loader = _TextLoader(filename, text)
    spec = importlib.machinery.ModuleSpec(name, loader, origin=filename)
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    linecache.cache[filename] = (len(text), None, list(io.StringIO(text, newline=None)), filename)
    if imports:
        import_rule.hold(module, imports)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
        kind, made = _function_class(module)
        loaded = Loaded(function_id, number, text, module, kind, made())
        _prepare(loaded)
        compat.look_at(filename, text)
    except BaseException as exc:
        if before is not None:
            sys.modules[name] = before
        elif sys.modules.get(name) is module:
            del sys.modules[name]
        if isinstance(exc, (KeyboardInterrupt, Interrupted, LoadError)):
            raise
        raise LoadError(describe(exc, filename)) from None
    return loaded


def unload(loaded: Loaded) -> None:
    """Forgets a loaded function: calls that run still end, new threads for it are not kept."""
    name = loaded.module.__name__
    if sys.modules.get(name) is loaded.module:
        del sys.modules[name]
    linecache.cache.pop(loaded.filename, None)
    loaded.threads.close()


def _function_class(module: ModuleType) -> tuple[str, Any]:
    for name, kind in CLASSES:
        if hasattr(module, name):
            return kind, getattr(module, name)
    message = "No Pipe, Filter, Action or Event class was found. Define one of them at the top level of the source."
    for name, what in (("Tools", "a tool kit"), ("Pipeline", "a Pipelines server plugin")):
        if hasattr(module, name):
            message = f"The source is {what} (class {name}), not a function: it has no Pipe, Filter, Action or Event."
    raise LoadError({"type": "LoadError", "message": message, "line": None, "traceback": None})


def _prepare(loaded: Loaded) -> None:
    """Plans the hooks and gives the instance its valves per call. Bound methods of the plans are the instance's own."""
    instance = loaded.instance
    if hasattr(instance, "valves") and getattr(instance, "Valves", None) is not None:
        loaded.has_valves = True
        loaded.valves_are_per_call = per_call(instance)
    loaded.has_user_valves = getattr(instance, "UserValves", None) is not None
    loaded.plans = plans(instance)
