"""The routes of the site as it is, for tests that hold for all of them, those to come included."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline_app.api.base import AsyncAPIView
from pipeline_app.api.schema import routes

VALUES = {"uuid": "6b8f0a52-5c1e-4a53-9b0e-3f0a1f1d2c3b", "int": "1"}
"""What stands for a variable of a path, by its converter; for others a word."""


class Door(NamedTuple):
    """One method of one route of the API."""

    method: str
    template: str
    path: str
    view: type[AsyncAPIView]

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def view_of(pattern: Any) -> type[AsyncAPIView] | None:
    """Returns the API view behind a route; None when it is another page."""
    cls = getattr(pattern.callback, "cls", None)
    return cls if isinstance(cls, type) and issubclass(cls, AsyncAPIView) else None


def doors() -> list[Door]:
    """Returns every method of every route of the API."""
    found = []
    for template, pattern in routes():
        view = view_of(pattern)
        if view is None:
            continue
        path = template
        for name, converter in pattern.pattern.converters.items():
            kind = type(converter).__name__.removesuffix("Converter").lower()
            path = path.replace(f"{{{name}}}", VALUES.get(kind, "nothing"))
        methods = [name.upper() for name in view.http_method_names if name != "options" and hasattr(view, name)]
        found += [Door(method, template, path, view) for method in methods]
    return found
