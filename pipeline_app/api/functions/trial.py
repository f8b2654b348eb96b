"""A try of one hook of a function."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from functions_app.models import FunctionVersion
from functions_app.roles import AUTHOR
from pipeline_app import wire
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.functions.base import FunctionNotFound, function_or_404
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.api.streaming import IDLE_SECONDS, STREAM_HEADERS, stop
from pipeline_app.attachments import attached
from pipeline_app.bodies import check_types, wrong_type
from pipeline_app.checking.sets import look_up
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.events import Channel
from pipeline_app.runners.base import Code
from pipeline_app.runtime import code_of, engine
from pipeline_app.trial import HOOKS, Given, Trial, has_hook, user_valves_to_try, valves_to_try

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class TrialView(AsyncAPIView):
    """``POST .../id/{id}/run``: tries a hook of a stored function, live or not, as the caller."""

    scope = "functions"
    permissions = {"POST": (AUTHOR,)}

    FIELDS = ("hook", "body", "metadata", "model", "files", "valves", "user_valves", "version", "answers", "stream")

    @describe(
        "Try a hook",
        body=shapes.TRIAL_FORM,
        answer=shapes.TRIAL,
        frames='`{"item"}`, `{"event"}` and `{"call"}` as they come, then `{"answer"}` with all of it, then `[DONE]`.',
        errors=(400, 404, 409, 503),
    )
    async def post(self, request: Request, function_id: str) -> HttpResponseBase:
        """Calls one hook as the caller; a function that fails is an answer with ``error``."""
        asked = self._checked(self.body())
        code, valves, user_valves = await in_database(self._prepared, function_id, asked)
        hook = asked["hook"]
        if code.manifest and not has_hook(code.manifest, hook):
            raise RequestError(
                f"Function '{function_id}' has no hook '{hook}'; it has {', '.join(code.manifest['hooks']) or 'none'}.",
                param="hook",
                code="hook_not_found",
            )
        given = Given(
            body=asked.get("body"),
            metadata=asked.get("metadata") or {},
            model=asked.get("model") or {"id": function_id, "name": function_id},
            files=await attached(asked.get("files"), self.person),
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
        check_types(body, dict, "metadata", "model", "valves", "user_valves")
        check_types(body, list, "files", "answers")
        check_types(body, bool, "stream")
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

    def _prepared(self, function_id: str, asked: Json) -> tuple[Code, Json, Json | None]:
        """Returns the version to run (the one named, else the live one, else the newest), and both sorts of valves."""
        function, number = function_or_404(function_id), asked.get("version")
        version: FunctionVersion | None
        if number is not None:
            version = function.versions.filter(number=number).first()
        else:
            version = function.live or function.newest
        if version is None:
            which = "no version yet" if number is None else f"no version {number}"
            raise FunctionNotFound(f"Function '{function_id}' has {which}.", param="version", code="version_not_found")
        version.function = function
        if version.state != version.State.LIVE:
            look_up(version)  # nobody may have published it, and with that looked for its packages
        valves = valves_to_try(version, asked.get("valves"), self.person)
        return code_of(version), valves, user_valves_to_try(version, asked.get("user_valves"), self.person)

    def _stream(self, code: Code, hook: str, given: Given) -> HttpResponseBase:
        channel = Channel()
        trial = Trial(engine.runner, code, hook, self.caller(), given, channel)
        return StreamingHttpResponse(
            _frames(trial, channel),
            content_type="text/event-stream; charset=utf-8",
            headers={**STREAM_HEADERS, "X-Run-ID": str(trial.record.id)},
        )


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
    except Exception:
        logger.exception("The stream of a trial failed in the server")
        yield wire.frame(wire.error("The server failed to go on; its log has the reason.", "server_error"))
    finally:
        await stop(task)
    yield wire.DONE
