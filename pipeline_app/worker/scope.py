"""What belongs to one call and is found through a context variable: its valves and its captured output.

One variable for everything, because setting it is the only thing a call pays for it. Threads that the
author starts, and tasks that outlive nothing, see no scope of their own and get the instance's last values.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

if TYPE_CHECKING:
    from .hosts import Host
    from .output import Output


class Scope:
    """One call as its author code sees it: whose instance it is, its valves, where its prints go, whom it may ask."""

    __slots__ = ("host", "instance", "output", "valves", "work")

    def __init__(
        self, instance: object, output: Output, host: Host | None = None, work: ReferenceType[Any] | None = None
    ) -> None:
        self.instance = instance
        self.output = output
        self.host = host
        self.work = work
        """The call itself; weakly, so that it goes at once when it is over."""
        self.valves: Any = None


current: ContextVar[Scope | None] = ContextVar("current_call", default=None)


class PerCallValves:
    """The ``valves`` attribute of a loaded instance: the running call's own, else the values last injected.

    The last values lie in the instance's own dictionary, where authors who copy or print it expect them.
    """

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return _of_class(owner)
        scope = current.get()
        if scope is not None and scope.instance is instance:
            return scope.valves
        own = instance.__dict__
        return own["valves"] if "valves" in own else _of_class(type(instance))

    def __set__(self, instance: Any, value: Any) -> None:
        scope = current.get()
        if scope is not None and scope.instance is instance:
            scope.valves = value
        else:
            instance.__dict__["valves"] = value

    def __delete__(self, instance: Any) -> None:
        if "valves" not in instance.__dict__:
            raise AttributeError("valves")
        del instance.__dict__["valves"]


def _of_class(owner: type | None) -> Any:
    for base in owner.__mro__ if owner is not None else ():
        found = base.__dict__.get("valves")
        if found is not None and not isinstance(found, PerCallValves):
            return found
    raise AttributeError("valves")


def per_call(instance: Any) -> bool:
    """Gives ``instance`` valves of its own for every call; returns False where Python does not allow it.

    The object moves to a subclass of its class, so the author's class, and other objects of it, stay as they are.
    """
    kind = type(instance)
    if not isinstance(getattr(instance, "__dict__", None), dict):
        return False
    if hasattr(getattr(kind, "valves", None), "__set__"):
        return False  # a property of the author's decides itself
    try:
        space = {
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
            "__slots__": (),
        }
        metaclass: Any = type(kind)
        made = metaclass(kind.__name__, (kind,), space)
        type.__setattr__(made, "valves", PerCallValves())
        instance.__class__ = made
    except Exception:  # a final class, a metaclass with demands, a layout that differs
        return False
    return True
