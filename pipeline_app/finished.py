"""A chat that is over, passed through outlet filters: for clients that got their answer some other way."""

from __future__ import annotations

import uuid
from typing import Any

from pipeline_app.context import Caller, context_of, metadata_of
from pipeline_app.filters import Chain, chain
from pipeline_app.pipes import find, target_model
from pipeline_app.runners.base import Runner
from pipeline_app.runs import Record
from pipeline_app.snapshot import Functions

Json = dict[str, Any]


class Finished:
    """One request of that kind. ``events`` collects what the filters emit."""

    def __init__(self, runner: Runner, functions: Functions, caller: Caller, body: Json) -> None:
        person, model_id = caller.person, body["model"]
        target = find(functions, person, model_id)
        model = target_model(target)
        self.record = Record(person, caller.request_id, "completed", model_id)
        self.events: list[Json] = []
        self.body = {
            **body,
            "chat_id": body.get("chat_id") or "",
            "session_id": body.get("session_id"),
            "id": body.get("id") or f"msg_{uuid.uuid4().hex[:24]}",
            "filter_ids": body.get("filter_ids") or [],
        }
        self.body.pop("model_item", None)
        self._context = context_of(caller, metadata_of(self.body, person, model, ""), model)
        self._filters = Chain(
            runner, chain(functions, target.preset, person, model_id, body.get("filter_ids")), person, self.record
        )

    async def run(self) -> Json:
        """Returns the body as the filters left it. Raises ``FunctionError``."""
        try:
            with self.record:
                return await self._filters.run("outlet", self.body, self._context, self.events.append)
        finally:
            self._filters.release()
            self.record.end()
