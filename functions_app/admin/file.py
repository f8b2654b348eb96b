"""Uploads: shown and deleted, not edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from functions_app.models import File

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[File]
else:
    _Admin = admin.ModelAdmin


@admin.register(File)
class FileAdmin(_Admin):
    list_display = ("name", "user", "content_type", "shown_size", "created_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    fields = readonly_fields = ("id", "name", "user", "content_type", "shown_size", "sha256", "meta", "created_at")

    @admin.display(description="size", ordering="size")
    def shown_size(self, file: File) -> str:
        return filesizeformat(file.size)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: File | None = None) -> bool:
        return False
