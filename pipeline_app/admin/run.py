"""Runs: what ran, step by step."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from functions_app.admin.pages import moment
from pipeline_app.admin.written import WrittenAdmin
from pipeline_app.models import Run
from pipeline_app.templatetags.figures import ms


@admin.register(Run)
class RunAdmin(WrittenAdmin):
    list_display = ("started", "model", "what_ran", "user", "outcome", "wall", "error_start")
    list_filter = ("outcome", "kind", "started_at")
    list_select_related = ("user",)
    search_fields = ("=id", "=request_id", "model", "error")
    fieldsets = (
        (
            None,
            {"fields": ("id", "request_id", "started", "kind", "model", "user", "outcome", "wall", "error_text")},
        ),
        ("Steps", {"fields": ("steps_table",), "classes": ("functions-steps",)}),
    )
    readonly_fields = (
        "id", "request_id", "started", "kind", "model", "user", "outcome", "wall", "error_text", "steps_table",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return super().get_queryset(request).defer("answer")  # may be long, and is not shown

    @admin.display(description="started", ordering="started_at")
    def started(self, run: Run) -> str:
        return moment(run.started_at)

    @admin.display(description="time", ordering="wall_ms")
    def wall(self, run: Run) -> str:
        return ms(run.wall_ms).replace(" ", "\N{NO-BREAK SPACE}")

    @admin.display(description="functions")
    def what_ran(self, run: Run) -> str:
        return ", ".join(run.functions())

    @admin.display(description="error")
    def error_start(self, run: Run) -> str:
        return Truncator(run.error).chars(90)

    @admin.display(description="error")
    def error_text(self, run: Run) -> SafeString | str:
        return format_html('<pre class="functions-traceback">{}</pre>', run.error) if run.error else "-"

    @admin.display(description="steps")
    def steps_table(self, run: Run) -> SafeString:
        return render_to_string("admin/pipeline_app/steps.html", {"steps": [_shown(step) for step in run.steps]})


def _shown(step: dict[str, Any]) -> dict[str, Any]:
    """Returns a step with its error and output as texts; steps of older versions lack some fields."""
    error = step.get("error")
    return {
        "queue_ms": None,
        "memory_mb": None,
        **step,
        "error": _said(error) if error else "",
        "output": [(line.get("level") or line.get("stream") or "", line["text"]) for line in step.get("output", ())],
    }


def _said(error: dict[str, Any]) -> str:
    """Returns a traceback, with what was said beside it where it does not end in that."""
    sentence, traceback = f"{error['type']}: {error['message']}", error["traceback"] or ""
    return traceback if traceback.rstrip().endswith(sentence) else f"{sentence}\n\n{traceback}".rstrip()
