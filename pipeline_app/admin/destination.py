"""Destinations: which hosts functions reached or were refused."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from functions_app.admin.pages import moment
from pipeline_app.admin.written import WrittenAdmin
from pipeline_app.models import Destination


@admin.register(Destination)
class DestinationAdmin(WrittenAdmin):
    list_display = ("host", "port", "function", "what_happened", "count", "last")
    list_filter = ("verdict",)
    search_fields = ("host", "=function")
    fields = readonly_fields = ("function", "host", "port", "verdict", "reason", "count", "last_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="verdict", ordering="verdict")
    def what_happened(self, destination: Destination) -> str:
        verdict = destination.get_verdict_display().lower()
        return f"{verdict}: {destination.reason}" if destination.reason else verdict

    @admin.display(description="last", ordering="last_at")
    def last(self, destination: Destination) -> str:
        return moment(destination.last_at)
