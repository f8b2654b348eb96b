"""The call that runs right now, for what is answered out of the request that it is part of."""

from __future__ import annotations

from typing import Any

from pipeline_app.worker.scope import current


def running_call() -> Any:
    """Returns the running call of a hook (``worker.calls.Call``); None outside of one."""
    scope = current.get()
    work = scope.work() if scope is not None and scope.work is not None else None
    return work if hasattr(work, "context") else None


def caller_id() -> str:
    """Returns the id of the user whom the running call is for; empty when there is none."""
    call = running_call()
    user = call.context.get("user") if call is not None else None
    return str(user["id"]) if isinstance(user, dict) and user.get("id") else ""


def base_url() -> str:
    """Returns the address under which the client reached the server; empty when that is not known."""
    call = running_call()
    request = call.context.get("request") if call is not None else None
    return str(request.get("base_url") or "").rstrip("/") if isinstance(request, dict) else ""
