"""The import rule of a policy, held where the function's own module imports. A rule for people: no boundary."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any


def refusal(names: Iterable[str]) -> str:
    """Returns the sentence for modules that a rule refuses."""
    return (
        f"The policy of this function does not allow it to import {', '.join(names)}. "
        "Do without, or have the rule changed (imports)."
    )


def refuses(rule: Mapping[str, Iterable[str]], name: str) -> bool:
    """Returns whether a rule, ``{}`` or ``{"allow" | "deny": top-level modules}``, refuses a module."""
    top = name.partition(".")[0]
    if top == "__future__":
        return False
    return top not in rule["allow"] if "allow" in rule else top in rule.get("deny", ())


def hold(module: ModuleType, rule: Mapping[str, Iterable[str]]) -> None:
    """Makes the imports of a module that has not run yet keep to a rule; what it imports is free to import anything."""
    plain = builtins.__import__
    rule = {kind: frozenset(names) for kind, names in rule.items()}

    def __import__(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0 and refuses(rule, name):
            raise ImportError(refusal([name.partition(".")[0]]), name=name)
        return plain(name, globals, locals, fromlist, level)

    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": __import__}
