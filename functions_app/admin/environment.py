"""Sets of packages: shown, not edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from functions_app.models import Environment

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Environment]
else:
    _Admin = admin.ModelAdmin


@admin.register(Environment)
class EnvironmentAdmin(_Admin):
    list_display = ("__str__", "state", "shown_size", "created_at")
    list_filter = ("state",)
    fields = readonly_fields = (
        "id",
        "requirements",
        "state",
        "shown_size",
        "digest",
        "lock",
        "log",
        "created_at",
        "updated_at",
    )

    @admin.display(description="size", ordering="size")
    def shown_size(self, environment: Environment) -> str:
        return filesizeformat(environment.size)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Environment | None = None) -> bool:
        return False
