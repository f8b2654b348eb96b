"""Trips: when a function crashed so often that calls to it were refused for a while, and why."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from functions_app.admin.pages import moment
from pipeline_app.admin.written import WrittenAdmin
from pipeline_app.models import Trip


@admin.register(Trip)
class TripAdmin(WrittenAdmin):
    list_display = ("opened", "function", "version", "process", "reason_start")
    list_filter = ("opened_at",)
    search_fields = ("=function", "reason")
    fields = ("function", "version", "opened", "let_through", "process", "reason", "log_text")
    readonly_fields = fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="opened", ordering="opened_at")
    def opened(self, trip: Trip) -> str:
        return moment(trip.opened_at)

    @admin.display(description="until")
    def let_through(self, trip: Trip) -> str:
        return f"{moment(trip.until)}; then calls are let through, and one crash within a minute opens it again"

    @admin.display(description="reason")
    def reason_start(self, trip: Trip) -> str:
        return trip.reason[:160]

    @admin.display(description="end of its log")
    def log_text(self, trip: Trip) -> SafeString | str:
        return format_html('<pre class="functions-traceback">{}</pre>', trip.log) if trip.log else "-"
