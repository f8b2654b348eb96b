"""Which filters a model has. They run where the server runs them: on the way of a request, not within a function."""

from __future__ import annotations

from typing import Any, NoReturn

from .._asking import Asking, Rows, asks
from .._either import course


def _attached(model: Any) -> set[str]:
    info = (model or {}).get("info") or {}
    return {str(id) for id in ((info.get("meta") or {}).get("filterIds")) or ()}


def _sorted(model: Any) -> Asking:
    from ..models.functions import Functions

    filters = yield from course(Functions.get_functions_by_type, "filter", True)
    attached = _attached(model)
    return Rows(sorted(found.id for found in filters if found.is_global or found.id in attached))


@asks
def get_sorted_filter_ids(request: Any, model: Any = None, enabled_filter_ids: Any = None) -> Asking:
    """Returns the ids of the active filters that are global or a model's own, in order of id.

    Takes ``(request, model)`` and the older ``(model)``.
    """
    return (yield from _sorted(request if isinstance(request, dict) and model is None else model))


@asks
def get_filter_functions(request: Any, model: Any = None, enabled_filter_ids: Any = None) -> Asking:
    """Returns those filters themselves."""
    from ..models.functions import Functions

    ids = yield from _sorted(model)
    return (yield from course(Functions.get_functions_by_ids, ids))


def get_filter_context(request: Any = None) -> dict[str, Any]:
    """Returns what filters of one request share: nothing here."""
    return {}


async def process_filter_functions(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuses: each filter runs in a process of its own."""
    raise NotImplementedError(
        "open_webui.utils.filter.process_filter_functions needs the objects of other functions; not available here. "
        "main.generate_chat_completions asks a model with its filters."
    )
