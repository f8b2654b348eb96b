"""What functions remember of people: shown and deleted, not edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from functions_app.models import Memory

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Memory]
else:
    _Admin = admin.ModelAdmin


@admin.register(Memory)
class MemoryAdmin(_Admin):
    list_display = ("__str__", "user", "kind", "updated_at")
    list_select_related = ("user",)
    search_fields = ("content", "user__username")
    fields = readonly_fields = ("id", "user", "kind", "path", "content", "meta", "created_at", "updated_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Memory | None = None) -> bool:
        return False
