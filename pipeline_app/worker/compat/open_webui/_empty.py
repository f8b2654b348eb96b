"""Tables that this server does not have: reading finds nothing, writing says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from ._asking import Facts, Page, Rows, Table, answers

_MADE: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "none": lambda: None,
        "empty": Rows,
        "facts": Facts,
        "false": lambda: False,
        "zero": lambda: 0,
        "page": lambda: Page([]),
    }
)


class EmptyTable(Table):
    """A table without rows. Subclasses name the methods by what they find, and those that write."""

    why: ClassVar[str] = ""
    none: ClassVar[str] = ""
    empty: ClassVar[str] = ""
    facts: ClassVar[str] = ""
    false: ClassVar[str] = ""
    zero: ClassVar[str] = ""
    page: ClassVar[str] = ""
    writes: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.elsewhere = MappingProxyType({cls.writes: cls.why})
        for kind, make in _MADE.items():
            for name in vars(cls).get(kind, "").split():
                setattr(cls, name, _finding(cls, name, make))


def _finding(cls: type, name: str, make: Callable[[], Any]) -> Callable[..., Any]:
    def find(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Finds nothing."""
        return make()

    find.__name__, find.__qualname__, find.__module__ = name, f"{cls.__qualname__}.{name}", cls.__module__
    return answers(find)
