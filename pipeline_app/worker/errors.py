"""What can go wrong with author code, as data that travels: type, sentence, the author's line and traceback."""

from __future__ import annotations

from typing import Any


class LoadError(Exception):
    """A source does not load. ``data`` is ``{"type", "message", "line", "traceback"}``, the last two possibly None."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data["message"])
        self.data = data


class HookError(Exception):
    """A hook failed. ``data`` is ``{"type", "message", "line", "traceback", "status", "detail"}``.

    ``status`` and ``detail`` are those of an ``HTTPException`` the author raised, else None. A failing
    ``stream`` hook adds ``index``, the place of the event in its batch, and ``results``, those before it.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data["message"])
        self.data = data

    @classmethod
    def saying(cls, type_: str, message: str) -> HookError:
        """Returns an error of ours about a hook: a sentence, no line and no traceback."""
        data = {"type": type_, "message": message, "line": None, "traceback": None, "status": None, "detail": None}
        return cls(data)


class ValvesError(Exception):
    """Values do not fit the function's model. ``errors`` is ``[{"loc": [...], "msg": str}]``."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, e['loc'])) or 'valves'}: {e['msg']}" for e in errors))
        self.errors = errors


class Interrupted(BaseException):
    """Raised inside author code whose call was stopped; not an ``Exception``, so ``except Exception`` lets it pass."""
