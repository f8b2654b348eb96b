"""Which modules and names are below ``open_webui``: ours, moved ones, stand-ins; and clear words for all others."""

from __future__ import annotations

import dis
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FrameType, ModuleType
from typing import Any

from . import _moved, _standing

PACKAGE = "open_webui"
_PREFIX = f"{PACKAGE}."


class Finder(MetaPathFinder):
    """Finds what is below the package, as long as that is the one in use."""

    stands_for = PACKAGE

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns where a module is. Raises ``ModuleNotFoundError`` for one that there is not, with what to do."""
        if not fullname.startswith(_PREFIX) or sys.modules[PACKAGE].__dict__.get("_finder") is not self:
            return None
        name = fullname.removeprefix(_PREFIX)
        if (moved := _moved.module(name)) is not None:
            return ModuleSpec(fullname, _Alias(_PREFIX + moved))
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Ours(fullname, spec.origin)
            return spec
        if _standing.has_module(name):
            return ModuleSpec(fullname, _StandIn(), is_package=True)
        why = _moved.WHY.get(name, "This server has the part of the package that functions are known to use.")
        raise ModuleNotFoundError(f"There is no module {fullname!r} here. {why}", name=fullname)


class _Ours(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if not self.name.rpartition(".")[2].startswith("_"):
            module.__dict__.setdefault("__getattr__", unknown(self.name))


class _StandIn(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = "Stands in for a module of Open WebUI that is not offered here."
        module.__dict__["__getattr__"] = unknown(module.__name__)


class _Alias(Loader):
    """Gives a module that has moved under its old name: the same object."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def install() -> None:
    """Puts the finder first, in place of that of a package of the same name that is forgotten."""
    sys.meta_path[:] = [found for found in sys.meta_path if getattr(found, "stands_for", None) != PACKAGE]
    finder = Finder()
    sys.modules[PACKAGE].__dict__["_finder"] = finder
    sys.meta_path.insert(0, finder)


def unknown(module: str) -> Callable[[str], Any]:
    """Returns the ``__getattr__`` of a module: what it has under other names, what stands in, words for the rest."""
    name = module.removeprefix(PACKAGE).removeprefix(".")

    def __getattr__(attribute: str) -> Any:
        if not attribute.startswith("_"):
            found = _found(name, attribute)
            if found is not None:
                sys.modules[module].__dict__[attribute] = found.value
                return found.value
        raise _missing(module, name, attribute, sys._getframe(1))

    return __getattr__


def _found(module: str, attribute: str) -> _standing.Found | None:
    successor = _moved.attribute(module, attribute)
    if successor is not None:
        where, what = successor
        found = importlib.import_module(f"{PACKAGE}.{where}")
        return _standing.Found(getattr(found, what) if what else found)
    inside = f"{module}.{attribute}" if module else attribute
    if f"{PACKAGE}.{inside}" in sys.modules or _is_module(inside):
        return _standing.Found(importlib.import_module(f"{PACKAGE}.{inside}"))
    return _standing.find(module, attribute)


def _is_module(name: str) -> bool:
    if _standing.has_module(name) or _moved.module(name) is not None:
        return True
    parent = sys.modules.get(f"{PACKAGE}.{name}".rpartition(".")[0])
    path = getattr(parent, "__path__", None)
    return bool(path) and PathFinder.find_spec(f"{PACKAGE}.{name}", path) is not None


def _missing(module: str, name: str, attribute: str, asker: FrameType) -> Exception:
    """Returns the error of a name that is not there, as the one who asks expects it."""
    why = _moved.WHY.get(f"{name}.{attribute}".lstrip("."), "")
    words = f"{module!r} has no {attribute!r} here.{f' {why}' if why else ''}"
    at = asker.f_lasti
    if at >= 0 and dis.opname[asker.f_code.co_code[at]] == "IMPORT_FROM":
        return ImportError(f"Cannot import {attribute!r} from {module!r}: {words}", name=module)
    return AttributeError(words, name=attribute)
