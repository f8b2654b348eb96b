"""The models there are for the caller of the running hook."""

from __future__ import annotations

from typing import Any

from .._asking import Asking, Rows, asks


@asks
def get_all_models(request: Any = None, refresh: bool = False, user: Any = None, **_: Any) -> Asking:
    """Returns the models that the caller may use, as dicts."""
    return Rows((yield "models.available", {}))


@asks
def get_all_base_models(request: Any = None, user: Any = None, **_: Any) -> Asking:
    """Returns those of the models that are no presets."""
    return Rows(model for model in (yield "models.available", {}) if not model.get("preset"))


@asks
def get_filtered_models(models: Any, user: Any = None, db: Any = None) -> Asking:
    """Returns those of some models that the caller may use."""
    there = {model["id"] for model in (yield "models.available", {})}
    return Rows(model for model in models if model.get("id") in there)


@asks
def check_model_access(user: Any, model: Any, *_: Any, **__: Any) -> Asking:
    """Raises an exception when the caller may not use a model."""
    id = model.get("id") if isinstance(model, dict) else getattr(model, "id", model)
    if id not in {model["id"] for model in (yield "models.available", {})}:
        raise Exception("Model not found")
