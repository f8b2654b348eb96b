"""What functions may ask about stored models."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pipeline_app.hostcalls.declared import Asked, HostCall, Json, text
from pipeline_app.models import Scope
from pipeline_app.snapshot import Person, Preset, snapshot


async def _model(asked: Asked, id: str) -> Json | None:
    """Returns a stored model as Open WebUI's ``ModelModel`` has it; None when there is none for this person."""
    preset = (await snapshot.functions()).presets.get(id)
    return _described(preset, asked.person) if preset is not None and _may_use(asked.person, preset) else None


async def _models(asked: Asked) -> list[Json]:
    """Returns the stored models that the person may use, in order of id."""
    presets = (await snapshot.functions()).presets
    return [_described(presets[id], asked.person) for id in sorted(presets) if _may_use(asked.person, presets[id])]


def _may_use(person: Person, preset: Preset) -> bool:
    return person.can("functions_app.view_model") or (preset.is_active and preset.open_to(person))


def _described(preset: Preset, person: Person) -> Json:
    """Returns a model; how it is instructed only to those who may see that elsewhere too."""
    inside = {**preset.params, "system": preset.system} if person.can("functions_app.view_model") else {}
    return {
        "id": preset.id,
        "user_id": "",
        "base_model_id": preset.base or None,
        "name": preset.name or preset.id,
        "params": inside,
        "meta": {
            **preset.meta,
            "filterIds": list(preset.filters),
            "actionIds": list(preset.actions),
            "defaultFilterIds": sorted(preset.default_filters),
        },
        "access_grants": [],
        "is_active": preset.is_active,
        "created_at": preset.created,
        "updated_at": preset.created,
    }


METHODS: Mapping[str, HostCall] = MappingProxyType(
    {
        "models.get": HostCall("models", Scope.MODELS.value, {"id": text(300)}, _model),
        "models.list": HostCall("models", Scope.MODELS.value, {}, _models),
    }
)
