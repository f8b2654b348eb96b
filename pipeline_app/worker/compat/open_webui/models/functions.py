"""Functions, as the caller of the running hook may see them, and their valves."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from .._asking import Asking, Facts, Rows, Table, asks, can_ask
from .._records import Record, record, rows


class FunctionMeta(Record):
    """What is said about a function."""

    description: str | None = None
    manifest: dict[str, Any] | None = {}


class FunctionModel(Record):
    """A function, without its valves. Its source is there for those who may read it."""

    version_id: str | None = None
    id: str
    user_id: str | None = None
    name: str
    type: str
    content: str = ""
    meta: FunctionMeta
    is_active: bool = False
    is_global: bool = False
    updated_at: int = 0
    created_at: int = 0


Function = FunctionResponse = FunctionUserResponse = FunctionWithValvesModel = FunctionModel
FunctionForm = record("FunctionForm", __name__, "id name content", commit_message=None, meta={})
FunctionValves = record("FunctionValves", __name__, **rows("valves"))


class FunctionsTable(Table):
    """What functions ask about functions."""

    elsewhere = MappingProxyType(
        {
            "insert_new_function update_function_by_id update_function_metadata_by_id delete_function_by_id "
            "deactivate_all_functions sync_functions": "Functions are changed through the admin or the API."
        }
    )

    @asks
    def get_function_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns a function; None when there is none that the caller may know of."""
        data = yield "functions.get", {"id": str(id)}
        return None if data is None else FunctionModel(**data)

    @asks
    def get_functions_by_ids(self, ids: list[str], db: Any = None) -> Asking:
        """Returns those of the functions that there are, in the order of the ids."""
        found = Rows()
        for id in ids:
            data = yield "functions.get", {"id": str(id)}
            if data is not None:
                found.append(FunctionModel(**data))
        return found

    @asks
    def get_functions(self, active_only: bool = False, include_valves: bool = False, db: Any = None) -> Asking:
        """Returns the functions by id, without their sources."""
        return (yield from _functions("", active_only))

    @asks
    def get_function_list(self, db: Any = None) -> Asking:
        """Returns the functions by id, without their sources."""
        return (yield from _functions("", False))

    @asks
    def get_functions_by_type(self, type: str, active_only: bool = False, db: Any = None) -> Asking:
        """Returns the functions of one kind, without their sources."""
        return (yield from _functions(str(type), active_only))

    @asks
    def get_global_filter_functions(self, db: Any = None) -> Asking:
        """Returns the active filters for all models."""
        return Rows(function for function in (yield from _functions("filter", True)) if function.is_global)

    @asks
    def get_global_action_functions(self, db: Any = None) -> Asking:
        """Returns the active actions for all models."""
        return Rows(function for function in (yield from _functions("action", True)) if function.is_global)

    @asks
    def get_active_filter_ids(self, db: Any = None) -> Asking:
        """Returns ``(id, is_global)`` of the active filters."""
        return Rows((function.id, function.is_global) for function in (yield from _functions("filter", True)))

    @asks
    def get_active_function_ids_by_type(self, type: str, db: Any = None) -> Asking:
        """Returns ``(id, is_global)`` of the active functions of one kind."""
        return Rows((function.id, function.is_global) for function in (yield from _functions(str(type), True)))

    @asks
    def get_function_valves_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns what is set for a function: its own, another's with the grant ``valves.read``; None for none.

        While a module loads there is nothing set yet: valves come with each call.
        """
        if not can_ask():
            return None
        data = yield "functions.valves", {"id": str(id)}
        return None if data is None else Facts(data)

    @asks
    def get_function_valves_by_ids(self, ids: list[str], db: Any = None) -> Asking:
        """Returns what is set for functions, by their ids."""
        found = Facts()
        for id in ids:
            data = yield "functions.valves", {"id": str(id)}
            if data is not None:
                found[str(id)] = data
        return found

    @asks
    def update_function_valves_by_id(self, id: str, valves: dict[str, Any], db: Any = None) -> Asking:
        """Sets valves of a function; takes the grant ``functions.write`` and a caller who may configure functions."""
        data = yield "functions.set_valves", {"id": str(id), "values": dict(valves)}
        return FunctionValves(id=str(id), valves=data)

    @asks
    def get_user_valves_by_id_and_user_id(self, id: str, user_id: str, db: Any = None) -> Asking:
        """Returns what the caller set for a function; None for any other user."""
        return (yield from _user_valves(id, user_id, None))

    @asks
    def update_user_valves_by_id_and_user_id(
        self, id: str, user_id: str, valves: dict[str, Any], db: Any = None
    ) -> Asking:
        """Sets what the caller has for a function; None for any other user."""
        return (yield from _user_valves(id, user_id, dict(valves)))


def _functions(kind: str, active_only: bool) -> Asking:
    found = yield "functions.list", {"kind": kind, "active_only": bool(active_only)}
    return Rows(FunctionModel(**data) for data in found)


def _user_valves(id: str, user_id: str, values: dict[str, Any] | None) -> Asking:
    given = {"id": str(id), "user_id": str(user_id)}
    if values is None:
        data = yield "functions.user_valves", given
    else:
        data = yield "functions.set_user_valves", {**given, "values": values}
    return None if data is None else Facts(data)


Functions = FunctionsTable()
