"""The outbox: system events that wait for Event functions, and those that were given up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from functions_app import roles
from functions_app.admin import pages
from functions_app.models import OutboxEvent

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[OutboxEvent]
else:
    _Admin = admin.ModelAdmin


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "waiting"), ("failed", "failed, tried again later"), ("given-up", "given up")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        conditions = {
            "waiting": Q(due_at__isnull=False, attempts=0),
            "failed": Q(due_at__isnull=False, attempts__gt=0),
            "given-up": Q(due_at=None),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


@admin.register(OutboxEvent)
class OutboxEventAdmin(_Admin):
    list_display = ("written", "name", "function", "shown_state", "attempts", "next_attempt", "error_start")
    list_filter = (StateFilter, "name", "function")
    search_fields = ("=event_id", "=function", "name", "error")
    show_full_result_count = False
    actions = ("try_again",)
    fields = readonly_fields = (
        "event_id", "name", "function", "written", "shown_state", "attempts", "next_attempt", "claimed_by",
        "shown_error", "shown_payload",
    )  # fmt: skip

    class Media:
        css = pages.CSS

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: OutboxEvent | None = None) -> bool:
        return roles.has(request.user, roles.AUDIT)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: OutboxEvent | None = None) -> bool:
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether this person may have events delivered again: functions run then."""
        return roles.has(request.user, roles.ACTIVATE)

    @admin.action(description="Try again now", permissions=["retry"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> None:
        chosen = OutboxEvent.objects.filter(pk__in=list(queryset.values_list("pk", flat=True)))
        count = chosen.try_again()
        messages.success(request, f"{count} event{'s' * (count != 1)} will be delivered again, within a second or so.")

    @admin.display(description="written", ordering="pk")
    def written(self, event: OutboxEvent) -> str:
        return pages.moment(event.created_at)

    @admin.display(description="state")
    def shown_state(self, event: OutboxEvent) -> str:
        return event.state

    @admin.display(description="next attempt", ordering="due_at")
    def next_attempt(self, event: OutboxEvent) -> str:
        return "-" if event.due_at is None or event.claimed_by else pages.moment(event.due_at)

    @admin.display(description="error")
    def error_start(self, event: OutboxEvent) -> str:
        return Truncator(event.error).chars(120)

    @admin.display(description="error")
    def shown_error(self, event: OutboxEvent) -> SafeString | str:
        return format_html('<pre class="functions-traceback">{}</pre>', event.error) if event.error else "-"

    @admin.display(description="event")
    def shown_payload(self, event: OutboxEvent) -> SafeString:
        text = json.dumps(event.payload, indent=2, ensure_ascii=False)
        return format_html('<pre class="functions-code">{}</pre>', text)
