"""What can go wrong between a request and its answer, each with a status and a sentence for the reader."""

from __future__ import annotations

import math
from typing import Any


class RequestError(Exception):
    """The request can't be served as it stands. Becomes OpenAI's error object with ``status``."""

    status = 400
    type = "invalid_request_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}
        self.events: list[dict[str, Any]] = []
        """What functions had told before it went wrong, for answers that carry events beside the error."""
        self.extra: dict[str, Any] = {}
        """What stands beside the error object in the answer."""
        if status is not None:
            self.status = status


class ModelNotFound(RequestError):
    """No such model, or none that the caller may use: told apart by nobody outside."""

    status = 404

    def __init__(self, model: str, why: str = "") -> None:
        super().__init__(
            f"The model '{model}' does not exist or you do not have access to it.{why}",
            param="model",
            code="model_not_found",
        )


class RunStopped(RequestError):
    """Somebody stopped the request while its functions ran."""

    status = 409
    type = "function_error"

    def __init__(self, run: str, by: str) -> None:
        super().__init__(f"Run {run} was stopped by {by}.", code="run_stopped", headers={"x-should-retry": "false"})


class FunctionError(RequestError):
    """A function failed. ``data`` is what the worker told: type, message, line, traceback, status, detail.

    The message for clients names function, hook and line; the traceback stays in the run and the log.
    """

    status = 500
    type = "function_error"

    def __init__(self, function_id: str, hook: str, data: dict[str, Any], *, code: str = "function_failed") -> None:
        self.function_id = function_id
        self.hook = hook
        self.data = data
        self.output: list[dict[str, Any]] = data.get("output") or []
        self.outcome: Any = None
        """What the call cost until it failed (``runners.base.Outcome``), where a runner knows it."""
        status = data.get("status")
        chosen = isinstance(status, int) and 400 <= status <= 599
        super().__init__(
            self._sentence(function_id, hook, data, chosen),
            code=code,
            status=status if chosen else None,
            # The official client tries a 5xx again by itself; what has started is never run a second time.
            headers={"x-should-retry": "false"},
        )
        if chosen and self.status < 500:
            self.type = "invalid_request_error"

    @staticmethod
    def told(function_id: str, hook: str, data: dict[str, Any]) -> FunctionError:
        """Returns the error of a call whose worker says that it failed: a limit of its policy, or its own doing."""
        if data.get("type") != "OutputLimit" or "(output_mb)" not in str(data.get("message")):
            return FunctionError(function_id, hook, data)
        stopped = SandboxLimit(function_id, hook, str(data["message"]).rstrip("."), code="output_limit", status=502)
        stopped.data = data
        stopped.output = data.get("output") or []
        return stopped

    def locate(self, told: dict[str, Any]) -> None:
        """Adds where the author's code was, from what the worker told of the end of a call that the server stopped."""
        if told.get("line") and not self.data.get("line"):
            self.data = {**self.data, "line": told["line"], "traceback": told.get("traceback") or ""}
            self.message = self.message.replace(f" in {self.hook}:", f" in {self.hook}, line {told['line']}:", 1)
            self.args = (self.message,)

    @staticmethod
    def _sentence(function_id: str, hook: str, data: dict[str, Any], chosen: bool) -> str:
        if chosen:
            # The author raised HTTPException: status and words are meant for the client.
            detail = data.get("detail")
            return detail if isinstance(detail, str) else str(detail or data["message"])
        line = f", line {data['line']}" if data.get("line") else ""
        return f"{data['message'] or data['type']} ({data['type']} in function '{function_id}', {hook}{line})"


class FunctionUnavailable(FunctionError):
    """A function can't be run at all: it does not load, its valves can't be read, or it crashes again and again.

    ``retry_after`` is in seconds, where waiting helps.
    """

    status = 503

    def __init__(
        self,
        function_id: str,
        hook: str,
        message: str,
        data: dict[str, Any] | None = None,
        *,
        code: str = "function_unavailable",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            function_id,
            hook,
            {"type": "Unavailable", "message": message, "line": None, "traceback": "", **(data or {}), "status": None},
            code=code,
        )
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        self.message = f"Function '{function_id}' can't be run: {message}"
        self.args = (self.message,)

    @classmethod
    def not_loading(cls, function_id: str, data: dict[str, Any]) -> FunctionUnavailable:
        """Returns the error of a version that does not load; ``data`` is what the worker told of it."""
        line = f" (line {data['line']})" if data.get("line") else ""
        return cls(function_id, "load", f"{data['type']}: {data['message']}{line}", data)


class Busy(FunctionError):
    """A function has as many calls as its policy allows, and no place became free in time: nothing has run."""

    status = 429

    def __init__(self, function_id: str, hook: str, message: str, *, retry_after: float) -> None:
        super().__init__(
            function_id,
            hook,
            {"type": "Busy", "message": message, "line": None, "traceback": ""},
            code="function_busy",
        )
        self.type = "rate_limit_error"
        self.headers = {"Retry-After": str(max(1, math.ceil(retry_after)))}
        self.message = f"Function '{function_id}' is busy: {message}"
        self.args = (self.message,)


class SandboxLimit(FunctionError):
    """A function was stopped because it broke a limit of its policy."""

    status = 504

    def __init__(
        self, function_id: str, hook: str, message: str, *, code: str = "time_limit", status: int = 504
    ) -> None:
        super().__init__(
            function_id, hook, {"type": "SandboxLimit", "message": message, "line": None, "traceback": ""}, code=code
        )
        self.status = status
        self.message = f"Function '{function_id}' was stopped in {hook}: {message}"
        self.args = (self.message,)


class WorkerDied(FunctionError):
    """The process that a function ran in ended during the call. What it had begun is not begun again."""

    status = 502

    def __init__(self, function_id: str, hook: str, message: str) -> None:
        super().__init__(
            function_id,
            hook,
            {"type": "WorkerDied", "message": message, "line": None, "traceback": ""},
            code="worker_died",
        )
        self.message = f"The worker of function '{function_id}' ended during {hook}: {message}"
        self.args = (self.message,)
