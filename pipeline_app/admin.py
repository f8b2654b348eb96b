"""Admin pages of keys and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pipeline_app.models import ApiKey, Run, Scope

if TYPE_CHECKING:
    _KeyForm = forms.ModelForm[ApiKey]
    _KeyAdmin = admin.ModelAdmin[ApiKey]
    _RunAdmin = admin.ModelAdmin[Run]
else:
    _KeyForm, _KeyAdmin, _RunAdmin = forms.ModelForm, admin.ModelAdmin, admin.ModelAdmin


class ApiKeyForm(_KeyForm):
    """Scopes as check boxes."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all that the owner may do.",
    )

    class Meta:
        model = ApiKey
        fields = ("user", "label", "scopes", "expires_at")


@admin.register(ApiKey)
class ApiKeyAdmin(_KeyAdmin):
    """Keys: issued here, shown once, told apart by their prefix, ended by revoking."""

    form = ApiKeyForm
    list_display = ("prefix", "user", "label", "scopes", "expires_at", "is_usable", "last_used_at", "created_at")
    list_select_related = ("user",)
    list_filter = ("user",)
    search_fields = ("prefix", "label", "user__username")
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        fields = ("user", "label", "scopes", "expires_at")
        return fields if obj is None else (*fields, *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else ("user", *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        key, text = ApiKey.objects.issue(obj.user, obj.label, obj.scopes, obj.expires_at)
        obj.pk = key.pk
        obj.__dict__.update(key.__dict__)
        messages.success(
            request, format_html("The key is <code>{}</code>. Copy it now: it can't be shown again.", text)
        )

    @admin.display(boolean=True, description="usable")
    def is_usable(self, key: ApiKey) -> bool:
        return key.usable

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.filter(revoked_at=None):
            key.revoke()
        messages.success(request, "The keys open nothing any more.")


@admin.register(Run)
class RunAdmin(_RunAdmin):
    """What ran, step by step; rows are written by the server and only read here."""

    list_display = ("started_at", "kind", "model", "user", "outcome", "wall", "what_ran", "error_start")
    list_filter = ("outcome", "kind", "started_at")
    list_select_related = ("user",)
    search_fields = ("=id", "=request_id", "model", "error")
    show_full_result_count = False
    fields = ("id", "request_id", "started_at", "kind", "model", "user", "outcome", "wall", "error_text", "steps_table")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        return False

    @admin.display(description="time", ordering="wall_ms")
    def wall(self, run: Run) -> str:
        return f"{run.wall_ms:,.1f} ms"

    @admin.display(description="functions")
    def what_ran(self, run: Run) -> str:
        return ", ".join(run.functions())

    @admin.display(description="error")
    def error_start(self, run: Run) -> str:
        return run.error[:120]

    @admin.display(description="error")
    def error_text(self, run: Run) -> SafeString | str:
        return format_html("<pre>{}</pre>", run.error) if run.error else "-"

    @admin.display(description="steps")
    def steps_table(self, run: Run) -> SafeString:
        rows = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{} ms</td><td>{}</td><td><pre>{}</pre></td></tr>",
            (
                (
                    step["function"],
                    step["version"],
                    step["hook"] + (f" x {step['calls']}" if step.get("calls", 1) > 1 else ""),
                    step["wall_ms"],
                    "-" if step["cpu_ms"] is None else f"{step['cpu_ms']} ms",
                    _told(step),
                )
                for step in run.steps
            ),
        )
        head = (
            "<tr><th>function</th><th>version</th><th>hook</th><th>time</th><th>CPU</th><th>output and errors</th></tr>"
        )
        return format_html("<table><thead>{}</thead><tbody>{}</tbody></table>", SafeString(head), rows)


def _told(step: dict[str, Any]) -> str:
    lines = [f"[{line.get('level') or line.get('stream')}] {line['text']}" for line in step.get("output", ())]
    error = step.get("error")
    if error:
        lines.append(error["traceback"] or f"{error['type']}: {error['message']}")
    return "\n".join(lines)
