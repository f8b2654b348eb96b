"""Rows for tests, each with sensible defaults."""

from __future__ import annotations

import itertools
from typing import Any

from functions_app.models import Function, FunctionVersion, Model, User, Valves

_numbers = itertools.count(1)

PIPE = '''"""
title: Echo
"""


class Pipe:
    def pipe(self, body: dict) -> str:
        return "hello"
'''


def make_user(username: str | None = None, **fields: Any) -> User:
    """Makes an ordinary user; ``is_superuser=True`` makes an admin."""
    return User.objects.create_user(username or f"user{next(_numbers)}", **fields)


def make_function(
    id: str | None = None,
    source: str = PIPE,
    *,
    name: str = "",
    author: User | None = None,
    is_active: bool = True,
    is_global: bool = False,
    policy: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
    publish: bool = True,
    valves: dict[str, Any] | None = None,
) -> Function:
    """Makes a function as an admin would: saved, published, switched on."""
    function = Function.objects.create_function(
        id or f"function{next(_numbers)}", name, source, author, meta=meta, publish=False
    )
    if policy:
        function.change_policy(policy)
    if publish:
        version = function.newest
        assert version is not None
        version.publish()
        function.refresh_from_db()
    function.is_active, function.is_global = is_active, is_global
    function.save(update_fields=["is_active", "is_global"])
    if valves is not None:
        Valves.objects.set_values(function, valves, author)
    return function


def make_version(function: Function, source: str, *, publish: bool = True, **fields: Any) -> FunctionVersion:
    """Saves a source as the function's next version and publishes it."""
    version = function.save_source(source, **fields)
    if publish:
        version.publish()
        function.refresh_from_db()
        version.refresh_from_db()
    return version


def make_model(id: str | None = None, base: str = "", *, filters: Any = (), actions: Any = (), **fields: Any) -> Model:
    """Makes a preset over ``base``; with none it is settings for the pipe of the same id."""
    id = id or f"model{next(_numbers)}"
    defaults, groups = fields.pop("default_filters", ()), fields.pop("groups", ())
    model = Model.objects.create(id=id, name=fields.pop("name", id), base_model_id=base, **fields)
    model.filters.set(filters)
    model.actions.set(actions)
    model.default_filters.set(defaults)
    model.groups.set(groups)
    return model
