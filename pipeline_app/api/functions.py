"""What may be asked about one function: its totals, its policy, and a try of one of its hooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from functions_app.fields import UndecryptableValves
from functions_app.models import Function, FunctionVersion, Valves
from pipeline_app import usage, wire
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.chat import IDLE_SECONDS, STREAM_HEADERS, stop, wrong_type
from pipeline_app.database import in_database
from pipeline_app.errors import FunctionUnavailable, RequestError
from pipeline_app.events import Channel
from pipeline_app.runners.base import Code
from pipeline_app.runs import log
from pipeline_app.runtime import code_of, engine
from pipeline_app.trial import HOOKS, Given, Trial

Json = dict[str, Any]

DAY = 86_400.0
VIEW = ("functions_app.view_function", "functions_app.change_function")
AUTHOR = ("functions_app.change_function",)
POLICY = ("functions_app.change_policy",)
PUBLISH = "functions_app.publish_function"
CONFIGURE = "functions_app.change_valves"


class FunctionNotFound(RequestError):
    """No such function, or no such version of it."""

    status = 404


def function_or_404(function_id: str) -> Function:
    """Returns a stored function. To be called where the database may be used."""
    found = Function.objects.select_related("live").filter(pk=function_id.replace("\0", "")).first()
    if found is None:
        raise FunctionNotFound(f"There is no function '{function_id}'.", param="id", code="function_not_found")
    return found


class StatsView(AsyncAPIView):
    """``GET .../id/{id}/stats``: calls, errors, times, CPU and memory of the last ``seconds`` (a day)."""

    scope = "functions"
    permissions = {"GET": VIEW}

    async def get(self, request: Request, function_id: str) -> HttpResponse:
        seconds = self._seconds(request.query_params.get("seconds"))
        # What this process has seen by now is to be in the answer.
        await in_database(log.write)
        return json_response(await in_database(self._stats, function_id, seconds))

    @staticmethod
    def _seconds(text: str | None) -> float:
        days: int = settings.FUNCTIONS_RUN_DAYS
        most = days * DAY
        if text is None:
            return min(DAY, most)
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= most:
            raise RequestError(
                f"'seconds' must be a number from 1 to {most:.0f}: totals are kept for {days} days.",
                param="seconds",
                code="invalid_value",
            )
        return seconds

    @staticmethod
    def _stats(function_id: str, seconds: float) -> Json:
        return usage.stats(function_or_404(function_id).id, seconds)


class PolicyView(AsyncAPIView):
    """``GET`` and ``POST .../id/{id}/policy``: the rules that hold, and in ``stored`` the function's own."""

    scope = "functions"
    permissions = {"GET": (*VIEW, *POLICY), "POST": POLICY}

    async def get(self, request: Request, function_id: str) -> HttpResponse:
        return json_response(await in_database(self._change, function_id, {}))

    async def post(self, request: Request, function_id: str) -> HttpResponse:
        """Changes the fields that are named; null takes one back to its default."""
        return json_response(await in_database(self._change, function_id, self.body()))

    @staticmethod
    def _change(function_id: str, partial: Json) -> Json:
        function = function_or_404(function_id)
        if partial:
            try:
                function.change_policy(partial)
            except ValidationError as error:
                raise _invalid_policy(error) from None
        return {**function.effective_policy().to_wire(), "stored": function.policy}


def _invalid_policy(error: ValidationError) -> RequestError:
    fields = error.message_dict
    sentences = [f"{name}: {' '.join(messages)}" for name, messages in fields.items()]
    return RequestError(" ".join(sentences), param=next(iter(fields)), code="invalid_policy")


class TrialView(AsyncAPIView):
    """``POST .../id/{id}/run``: tries a hook of a stored function, live or not, as the caller."""

    scope = "functions"
    permissions = {"POST": AUTHOR}

    FIELDS = ("hook", "body", "metadata", "model", "files", "valves", "user_valves", "version", "answers", "stream")

    async def post(self, request: Request, function_id: str) -> HttpResponseBase:
        asked = self._checked(self.body())
        code, valves = await in_database(self._prepared, function_id, asked.get("version"), asked.get("valves"))
        hook = asked["hook"]
        if code.manifest and not _has(code.manifest, hook):
            raise RequestError(
                f"Function '{function_id}' has no hook '{hook}'; it has {', '.join(code.manifest['hooks']) or 'none'}.",
                param="hook",
                code="hook_not_found",
            )
        user_valves = None
        if asked.get("user_valves") is not None or not code.manifest or code.manifest.get("user_valves") is not None:
            own = self.person.user_valves.get(function_id, {})
            user_valves = _over(own, asked.get("user_valves"))
        given = Given(
            body=asked.get("body"),
            metadata=asked.get("metadata") or {},
            model=asked.get("model") or {"id": function_id, "name": function_id},
            files=asked.get("files"),
            valves=valves,
            user_valves=user_valves,
            answers=asked.get("answers") or [],
        )
        if asked.get("stream"):
            return self._stream(code, hook, given)
        trial = Trial(engine.runner, code, hook, self.caller(), given)
        try:
            return json_response(await trial.run(), headers={"X-Run-ID": str(trial.record.id)})
        except RequestError as error:
            error.headers["X-Run-ID"] = str(trial.record.id)
            raise

    def _checked(self, body: Json) -> Json:
        for name in body:
            if name not in self.FIELDS:
                raise RequestError(
                    f"There is no field '{name}'; there are {', '.join(self.FIELDS)}.",
                    param=name,
                    code="unknown_parameter",
                )
        if body.get("hook") is None:
            raise RequestError("Missing required parameter: 'hook'.", param="hook", code="missing_required_parameter")
        if body["hook"] not in HOOKS:
            raise RequestError(f"'hook' must be one of {', '.join(HOOKS)}.", param="hook", code="invalid_value")
        for name in ("metadata", "model", "valves", "user_valves"):
            if not isinstance(body.get(name), dict | None):
                raise wrong_type(name, "an object", body[name])
        for name in ("files", "answers"):
            if not isinstance(body.get(name), list | None):
                raise wrong_type(name, "an array", body[name])
        if not isinstance(body.get("stream"), bool | None):
            raise wrong_type("stream", "a boolean", body["stream"])
        version = body.get("version")
        if isinstance(version, bool) or not isinstance(version, int | None):
            raise wrong_type("version", "a whole number", version)
        self._check_body(body["hook"], body.get("body"))
        return body

    @staticmethod
    def _check_body(hook: str, body: Any) -> None:
        if hook == "stream":
            events = body if isinstance(body, list) else [body]
            if not events or not all(isinstance(event, dict) for event in events):
                raise RequestError(
                    "For the hook 'stream', 'body' must be a chunk (an object), or an array of chunks.",
                    param="body",
                    code="invalid_type",
                )
        elif not isinstance(body, dict | None):
            raise wrong_type("body", "an object", body)

    def _prepared(self, function_id: str, number: int | None, given: Json | None) -> tuple[Code, Json]:
        """Returns the version to run (the one named, else the live one, else the newest) and the valves for it."""
        function = function_or_404(function_id)
        version: FunctionVersion | None
        if number is not None:
            version = function.versions.filter(number=number).first()
        else:
            version = function.live or function.newest
        if version is None:
            which = "no version yet" if number is None else f"no version {number}"
            raise FunctionNotFound(f"Function '{function_id}' has {which}.", param="version", code="version_not_found")
        version.function = function
        stored = self._stored_valves(function_id) if self._may_use_stored_valves(version, given) else {}
        return code_of(version), _over(stored, given)

    def _may_use_stored_valves(self, version: FunctionVersion, given: Json | None) -> bool:
        """Whether a try may see what administrators set: it could hand out secrets that nobody is ever shown.

        Code that nobody let serve could do so by itself, and published code with other valves beside the stored
        ones, such as another address for a key. So the first is for who may publish, the second for who may
        configure, too.
        """
        if version.state not in (FunctionVersion.State.LIVE, FunctionVersion.State.RETIRED):
            return self.person.can(PUBLISH)
        return not given or self.person.can(CONFIGURE) or self.person.can(PUBLISH)

    @staticmethod
    def _stored_valves(function_id: str) -> Json:
        stored = Valves.objects.filter(function=function_id).first()
        try:
            valves: Json = stored.values if stored is not None else {}
        except UndecryptableValves as error:
            raise FunctionUnavailable(function_id, "load", str(error)) from None
        return valves

    def _stream(self, code: Code, hook: str, given: Given) -> HttpResponseBase:
        channel = Channel()
        trial = Trial(engine.runner, code, hook, self.caller(), given, channel)
        return StreamingHttpResponse(
            _frames(trial, channel),
            content_type="text/event-stream; charset=utf-8",
            headers={**STREAM_HEADERS, "X-Run-ID": str(trial.record.id)},
        )


def _has(manifest: Json, hook: str) -> bool:
    hooks = manifest["hooks"]
    if hook == "pipes":
        return manifest.get("pipes") is not None
    return hook in hooks or (hook == "action" and "run" in hooks)


def _over(stored: Json, given: Json | None) -> Json:
    """Returns stored values with those given for this call over them; null means the code's own default."""
    return {name: value for name, value in {**stored, **(given or {})}.items() if value is not None}


async def _frames(trial: Trial, channel: Channel) -> AsyncIterator[bytes]:
    """Yields what is told while the hook runs, then the whole answer, then the end mark."""

    async def work() -> None:
        try:
            channel.put({"answer": await trial.run()})
        except BaseException as error:
            channel.end(error)
            raise
        channel.end()

    task = asyncio.create_task(work(), name="trial")
    try:
        async for batch in channel.batches(IDLE_SECONDS):
            yield b"".join(map(wire.frame, batch)) or wire.KEEP_ALIVE
    except RequestError as error:
        yield wire.frame(wire.error(error.message, error.type, param=error.param, code=error.code))
    finally:
        await stop(task)
    yield wire.DONE
