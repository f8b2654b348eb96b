"""Stored models, as the caller of the running hook may use them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from .._asking import Asking, Awaitable, Rows, Table, asks
from .._records import Record


class ModelParams(BaseModel):
    """Parameters of a model: whatever was set. Empty for a caller who may not see them."""

    model_config = ConfigDict(extra="allow")


class ModelMeta(BaseModel):
    """What is said about a model."""

    model_config = ConfigDict(extra="allow")

    profile_image_url: str | None = None
    description: str | None = None
    capabilities: dict[str, Any] | None = None


class ModelModel(BaseModel, Awaitable):
    """A stored model: a preset, or settings for the pipe of the same id when it has no base."""

    model_config = ConfigDict(from_attributes=True)

    version_id: str | None = None
    id: str
    user_id: str
    base_model_id: str | None = None
    name: str
    params: ModelParams
    meta: ModelMeta
    access_grants: list[Any] = []
    is_active: bool
    updated_at: int
    created_at: int


class ModelForm(Record):
    """What is sent to store a model."""

    commit_message: str | None = None
    id: str
    base_model_id: str | None = None
    name: str
    meta: ModelMeta
    params: ModelParams
    access_grants: list[Any] | None = None
    is_active: bool = True


Model = ModelResponse = ModelUserResponse = ModelModel


class ModelsTable(Table):
    """What functions ask about stored models."""

    elsewhere = MappingProxyType(
        {
            "insert_new_model update_model_by_id toggle_model_by_id delete_model_by_id delete_all_models "
            "sync_models": "Models are managed in the admin."
        }
    )

    @asks
    def get_model_by_id(self, id: str, db: Any = None) -> Asking:
        """Returns a stored model; None for a pipe without stored settings."""
        data = yield "models.get", {"id": str(id)}
        return None if data is None else ModelModel(**data)

    @asks
    def get_all_models(self, db: Any = None) -> Asking:
        """Returns every stored model that the caller may use."""
        return Rows(ModelModel(**data) for data in (yield "models.list", {}))

    @asks
    def get_models(self, writable_by_user_id: str | None = None, db: Any = None, ids: Any = None) -> Asking:
        """Returns the presets: stored models over another."""
        wanted = None if ids is None else set(ids)
        rows = yield "models.list", {}
        return Rows(
            ModelModel(**data) for data in rows if data["base_model_id"] and (wanted is None or data["id"] in wanted)
        )

    @asks
    def get_base_models(self, tag: str | None = None, db: Any = None) -> Asking:
        """Returns the stored settings of pipes."""
        return Rows(ModelModel(**data) for data in (yield "models.list", {}) if not data["base_model_id"])

    @asks
    def get_models_by_ids(self, ids: list[str], db: Any = None) -> Asking:
        """Returns those of the stored models that there are."""
        found = Rows()
        for id in ids:
            data = yield "models.get", {"id": str(id)}
            if data is not None:
                found.append(ModelModel(**data))
        return found


Models = ModelsTable()
