"""Presets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import ManyToManyField
from django.http import HttpRequest

from functions_app.models import Function, Model

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Model]
else:
    _Admin = admin.ModelAdmin


@admin.register(Model)
class ModelAdmin(_Admin):
    list_display = ("id", "name", "base_model_id", "is_active", "updated_at")
    list_filter = ("is_active", "groups")
    search_fields = ("id", "name", "base_model_id")
    filter_horizontal = ("filters", "actions", "default_filters", "groups")
    fieldsets = (
        (None, {"fields": ("id", "name", "base_model_id", "is_active", "owner")}),
        ("What the request is given", {"fields": ("system_prompt", "params", "meta")}),
        ("Functions", {"fields": ("filters", "default_filters", "actions")}),
        ("Who may use it", {"fields": ("groups",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        # Another id would be another row beside this one.
        return ("id",) if obj else ()

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        kinds = {"filters": "filter", "default_filters": "filter", "actions": "action"}
        if db_field.name in kinds:
            kwargs["queryset"] = Function.objects.of_kind(kinds[db_field.name])
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk, **super().get_changeform_initial_data(request)}
