"""Which models there are, and which function answers for one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from pipeline_app.context import Caller, context_of, metadata_of
from pipeline_app.errors import FunctionError, ModelNotFound
from pipeline_app.runners.base import Runner, Task
from pipeline_app.snapshot import Entry, Functions, Person, Preset

logger = logging.getLogger(__name__)

Json = dict[str, Any]

AT_ONCE = 8
"""How many ``pipes()`` run side by side while the model list is made."""
OTHERS_WAIT = 5.0
"""Seconds that lists of all models wait for the first answer of a provider, from when it was asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """Who answers for a model: the pipe, the model id that the pipe knows, and the preset that was asked for."""

    id: str
    pipe: Entry
    pipe_model: str
    preset: Preset | None


def _split(model_id: str) -> tuple[str, str | None]:
    """Returns function id and part; the function id is all before the first dot."""
    function_id, dot, part = model_id.partition(".")
    return function_id, part if dot else None


def find(functions: Functions, person: Person, model_id: str) -> Target:
    """Returns who answers for a model. Raises ``ModelNotFound`` when nobody does, or not for this person.

    Whether a manifold offers the part is for ``Catalog.check``.
    """
    preset = functions.presets.get(model_id)
    if preset is not None and not (preset.is_active and preset.open_to(person)):
        raise ModelNotFound(model_id)
    pipe_model = preset.base if preset is not None and preset.base else model_id
    function_id, part = _split(pipe_model)
    pipe = functions.active(function_id, "pipe")
    if pipe is None:
        raise ModelNotFound(model_id)
    if part is None and pipe.manifest.get("pipes") is not None:
        raise ModelNotFound(
            model_id, f" '{function_id}' offers several models; ask for one of them as '{function_id}.<part>'."
        )
    if part is not None and pipe.manifest.get("pipes") is None:
        raise ModelNotFound(model_id)
    return Target(model_id, pipe, pipe_model, preset)


@dataclass(slots=True)
class _List:
    """What one pipe offered when it was last asked."""

    parts: list[Json] | None = None
    error: FunctionError | None = None
    asked: float = float("-inf")
    began: float = float("-inf")
    refresh: asyncio.Task[None] | None = None


class Catalog:
    """The models of all pipes. A manifold is asked with a deadline, and its last good list is kept.

    One that fails or hangs never delays or empties the list of the others.
    """

    def __init__(self, runner: Callable[[], Runner]) -> None:
        self._runner = runner
        self._lists: dict[tuple[Any, ...], _List] = {}
        self._gate: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def parts(
        self, pipe: Entry, caller: Caller, *, fresh: bool = False, among_others: bool = False
    ) -> list[Json]:
        """Returns what a pipe offers as ``[{"id", "name"}]``; one part with an empty id for a plain pipe.

        ``among_others``: a first list is waited for only a moment, and one that failed before not at all.
        Raises ``FunctionError`` when a manifold has never given a list and gives none now.
        """
        offered = pipe.manifest.get("pipes")
        if offered is None:
            return [{"id": "", "name": ""}]
        if isinstance(offered, list):
            return _clean(offered)
        held = self._held(pipe, caller)
        age = time.monotonic() - held.asked
        if held.parts is None or fresh:
            # A list that failed a moment ago is not asked again by everybody who comes along.
            if held.error is not None and age < 2 and not fresh:
                raise held.error
            refresh = self._refresh(held, pipe, caller)
            if among_others:
                # One that failed before has had its chance to hold the others up.
                patience = 0 if held.error is not None else held.began + OTHERS_WAIT - time.monotonic()
                done, _ = await asyncio.wait({refresh}, timeout=max(0, patience))
                for answered in done:
                    answered.result()
                if held.parts is None and held.error is None:
                    raise FunctionError(pipe.id, "pipes", {"type": "TimeLimit", "message": "no list has come yet"})
            else:
                await self._wait(refresh)
            if held.parts is None:
                raise held.error or FunctionError(pipe.id, "pipes", {"type": "Error", "message": "no list came back"})
        elif age > settings.FUNCTIONS_MODEL_LIST_SECONDS:
            self._refresh(held, pipe, caller)
        return held.parts

    def _held(self, pipe: Entry, caller: Caller) -> _List:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._gate = loop, asyncio.Semaphore(AT_ONCE)
            self._lists.clear()
        # A list that depends on who asks is kept for each.
        personal = "__user__" in pipe.manifest["hooks"]["pipes"]["parameters"]
        valves = repr(sorted(pipe.valves.items(), key=lambda item: item[0]))
        key = (pipe.id, pipe.code.sha256, valves, caller.person.id if personal else "")
        if key not in self._lists:
            for other in [k for k in self._lists if k[0] == pipe.id and k[3] == key[3]]:
                del self._lists[other]
            while len(self._lists) > 2000:
                del self._lists[next(iter(self._lists))]
            self._lists[key] = _List()
        return self._lists[key]

    def _refresh(self, held: _List, pipe: Entry, caller: Caller) -> asyncio.Task[None]:
        if held.refresh is None or held.refresh.done():
            held.began = time.monotonic()
            held.refresh = asyncio.create_task(self._ask(held, pipe, caller), name=f"models of {pipe.id}")
        return held.refresh

    @staticmethod
    async def _wait(task: asyncio.Task[None]) -> None:
        # Shared by everybody who waits: one who leaves doesn't stop it.
        await asyncio.shield(task)

    async def _ask(self, held: _List, pipe: Entry, caller: Caller) -> None:
        assert self._gate is not None
        async with self._gate:
            runner = self._runner()
            model = model_of(pipe, "", "")
            metadata = metadata_of({}, caller.person, model, "")
            try:
                worker = await runner.prepare(pipe.code)
                try:
                    task = Task(
                        "pipes",
                        None,
                        {**context_of(caller, metadata, model), "id": pipe.id},
                        pipe.set_valves("pipes"),
                        time_limit=pipe.policy.time_limit("pipes"),
                        caller=caller.person,
                    )
                    outcome = await runner.call(worker, task)
                finally:
                    worker.release()
                if not isinstance(outcome.value, list):
                    kind = type(outcome.value).__name__
                    raise FunctionError(
                        pipe.id, "pipes", {"type": "TypeError", "message": f"pipes must give a list, not {kind}"}
                    )
                held.parts, held.error = _clean(outcome.value), None
            except FunctionError as error:
                held.error = error
                logger.warning("The models of '%s' can't be listed: %s", pipe.id, error.message)
            finally:
                held.asked = time.monotonic()

    async def check(self, target: Target, caller: Caller) -> None:
        """Raises ``ModelNotFound`` when a manifold doesn't offer the part that a target names."""
        _, part = _split(target.pipe_model)
        if part is None:
            return
        if any(offered["id"] == part for offered in await self.parts(target.pipe, caller)):
            return
        # It may be new: look once more, but not for everybody who guesses.
        held = self._held(target.pipe, caller) if target.pipe.manifest.get("pipes") == "dynamic" else None
        if (
            held is not None
            and time.monotonic() - held.asked > 2
            and any(o["id"] == part for o in await self.parts(target.pipe, caller, fresh=True))
        ):
            return
        raise ModelNotFound(target.id, f" '{target.pipe.id}' does not offer '{part}'.")

    async def models(self, functions: Functions, caller: Caller) -> list[tuple[Json, Entry | None, Preset | None]]:
        """Returns what a person may call, as ``(model, pipe, preset)`` in order of name; see ``model_of``."""
        person = caller.person
        pipes = [entry for entry in functions.entries.values() if entry.kind == "pipe"]
        lists = await asyncio.gather(
            *(self.parts(pipe, caller, among_others=True) for pipe in pipes), return_exceptions=True
        )
        found: dict[str, tuple[Json, Entry | None, Preset | None]] = {}
        for pipe, parts in zip(pipes, lists, strict=True):
            if isinstance(parts, FunctionError):
                continue  # logged where it happened; a list without this provider is better than none
            if isinstance(parts, BaseException):
                raise parts
            for part in parts:
                entry = model_of(pipe, part["id"], part["name"])
                override = functions.presets.get(entry["id"])
                if override is not None and not override.base:
                    if not (override.is_active and override.open_to(person)):
                        continue
                    entry["name"] = override.name or entry["name"]
                found[entry["id"]] = (entry, pipe, override)
        for preset in functions.presets.values():
            if not preset.base or not preset.is_active or not preset.open_to(person):
                continue
            function_id, _ = _split(preset.base)
            base = functions.active(function_id, "pipe")
            if base is not None:
                model = {
                    **model_of(base, "", ""),
                    "id": preset.id,
                    "name": preset.name or preset.id,
                    "created": preset.created,
                }
                found[preset.id] = (model, base, preset)
        return sorted(found.values(), key=lambda item: (item[0]["name"].lower(), item[0]["id"]))


def _clean(parts: list[Any]) -> list[Json]:
    """Returns the usable entries of what ``pipes`` gave: those with an id; a missing name is the id."""
    clean = []
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("id"), str | int) and part["id"] != "":
            clean.append({"id": str(part["id"]), "name": str(part.get("name") or part["id"])})
    return clean


def model_of(pipe: Entry, part: str, part_name: str) -> Json:
    """Returns a model of a pipe as functions see it in ``__model__`` and in ``__metadata__["model"]``."""
    prefix = pipe.manifest.get("name")
    return {
        "id": f"{pipe.id}.{part}" if part else pipe.id,
        "name": f"{prefix or ''}{part_name}" if part else pipe.name,
        "object": "model",
        "created": pipe.created,
        "owned_by": "openai",
        "pipe": {"type": "pipe"},
        "has_user_valves": pipe.manifest.get("user_valves") is not None,
    }


def target_model(target: Target) -> Json:
    """Returns the model of a target, with the preset's own id, name and settings where there is one."""
    _, part = _split(target.pipe_model)
    model = model_of(target.pipe, part or "", part or "")
    preset = target.preset
    if preset is None:
        return model
    return {
        **model,
        "id": preset.id,
        "name": preset.name or model["name"],
        "info": {**_info(preset), "params": preset.params},
    }


def described(functions: Functions, model: Json, pipe: Entry | None, preset: Preset | None) -> Json:
    """Returns a model in Open WebUI's shape, with the toggle filters and actions that apply to it."""
    entry = dict(model)
    if preset is not None:
        entry["info"] = _info(preset)
        if preset.base:
            entry["preset"] = True
            entry.pop("has_user_valves", None)
    attached = preset.filters if preset is not None else ()
    entry["filters"] = [
        {**_shown(f), "has_user_valves": f.manifest.get("user_valves") is not None}
        for f in sorted(functions.filters, key=lambda f: f.id)
        if f.toggle and (f.is_global or f.id in attached)
    ]
    entry["actions"] = [button for action in actions_of(functions, preset) for button in buttons(action)]
    entry["tags"] = _tags(preset.meta.get("tags")) if preset is not None else []
    return entry


def _tags(given: Any) -> list[Json]:
    """Returns the tags of a preset's ``meta``, which holds names or objects with one."""
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in given] if isinstance(given, list) else []
    return [{"name": name} for name in names if isinstance(name, str) and name]


def actions_of(functions: Functions, preset: Preset | None) -> list[Entry]:
    """Returns the actions that apply to a model: global ones and those attached to it, in order."""
    attached = preset.actions if preset is not None else ()
    found = [e for e in functions.entries.values() if e.kind == "action" and (e.is_global or e.id in attached)]
    return sorted(found, key=lambda e: e.order)


def actions_for(functions: Functions, person: Person) -> list[tuple[Entry, list[str]]]:
    """Returns the actions that a person may trigger, in order, each with the models that it is attached to."""
    usable = [preset for preset in functions.presets.values() if preset.is_active and preset.open_to(person)]
    found = []
    for action in sorted((e for e in functions.entries.values() if e.kind == "action"), key=lambda e: e.order):
        models = sorted(preset.id for preset in usable if action.id in preset.actions)
        if action.is_global or models or person.is_admin:
            found.append((action, models))
    return found


def _shown(entry: Entry) -> Json:
    icon = (entry.manifest.get("frontmatter") or {}).get("icon_url") or entry.manifest.get("icon")
    return {"id": entry.id, "name": entry.name, "description": entry.description, "icon": icon}


def buttons(action: Entry) -> list[Json]:
    """Returns what an action offers: itself, or each of its sub-actions as ``{id}.{sub}``."""
    whole = _shown(action)
    return [
        {
            "id": f"{action.id}.{part['id']}",
            "name": str(part.get("name") or f"{action.name} ({part['id']})"),
            "description": str(part.get("description") or action.description),
            "icon": str(part["icon_url"]) if part.get("icon_url") else whole["icon"],
        }
        for part in action.manifest.get("actions") or ()
    ] or [whole]


def _info(preset: Preset) -> Json:
    return {
        "id": preset.id,
        "name": preset.name,
        "base_model_id": preset.base or None,
        "params": {},
        "meta": {
            **preset.meta,
            "filterIds": list(preset.filters),
            "actionIds": list(preset.actions),
            "defaultFilterIds": sorted(preset.default_filters),
        },
        "is_active": preset.is_active,
        "created_at": preset.created,
    }
