"""Sets of packages: who uses them, how building them went, and building one again. They are shown, not edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from functions_app import roles
from functions_app.admin import pages
from functions_app.models import Environment
from functions_app.runtime import get_runtime

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Environment]
else:
    _Admin = admin.ModelAdmin


@admin.register(Environment)
class EnvironmentAdmin(_Admin):
    list_display = ("__str__", "state", "kind", "shown_users", "shown_size", "used", "created")
    list_filter = ("state", "kind")
    search_fields = ("requirements",)
    actions = ("build_again",)
    fields = readonly_fields = (
        "id", "shown_requirements", "state", "shown_error", "kind", "shown_versions", "shown_packages", "shown_size",
        "python", "base", "digest", "shown_lock", "shown_log", "created_at", "updated_at", "used_at",
    )  # fmt: skip

    class Media:
        css = pages.CSS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Environment]:
        rows: Any = super().get_queryset(request)
        if request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist"):
            rows = rows.defer("lock", "log")
        return rows.with_users()  # type: ignore[no-any-return]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Environment | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Environment | None = None) -> bool:
        return False  # what nobody uses goes by itself, with its folder

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether this person may have sets built again: versions go live with them."""
        return roles.has(request.user, roles.ACTIVATE)

    @admin.action(description="Build again what failed", permissions=["retry"])
    def build_again(self, request: HttpRequest, queryset: QuerySet[Environment]) -> None:
        rows = list(queryset.filter(state=Environment.State.FAILED))
        versions = [version for row in rows for version in row.retry()]
        get_runtime().build()
        if not rows:
            messages.info(request, "None of these has failed; nothing is to be built again.")
            return
        also = f" Published again: {', '.join(map(str, versions))}." if versions else ""
        messages.success(request, f"{len(rows)} set{'s' * (len(rows) != 1)} of packages will be built again.{also}")

    @admin.display(description="users", ordering="users")
    def shown_users(self, environment: Any) -> int:
        return int(environment.users)

    @admin.display(description="size", ordering="size")
    def shown_size(self, environment: Environment) -> str:
        return filesizeformat(environment.size) if environment.size else "-"

    @admin.display(description="used", ordering="used_at")
    def used(self, environment: Environment) -> str:
        return pages.moment(environment.used_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, environment: Environment) -> str:
        return pages.moment(environment.created_at)

    @admin.display(description="requirements")
    def shown_requirements(self, environment: Environment) -> str:
        return ", ".join(map(str, environment.requirements))

    @admin.display(description="error")
    def shown_error(self, environment: Environment) -> SafeString | str:
        error = environment.error
        if not error:
            return "-"
        return format_html(
            '<p><strong>{}</strong></p><pre class="functions-traceback">{}</pre>',
            error.get("code"),
            error.get("message"),
        )

    @admin.display(description="versions")
    def shown_versions(self, environment: Environment) -> SafeString | str:
        rows = environment.versions.order_by("function_id", "-number").values_list("function_id", "number", "state")
        return format_html_join(", ", "{} v{} ({})", rows[:200]) or "-"

    @admin.display(description="packages")
    def shown_packages(self, environment: Environment) -> SafeString | str:
        return format_html_join(", ", "{} {}", sorted(environment.packages.items())) or "-"

    @admin.display(description="lock")
    def shown_lock(self, environment: Environment) -> SafeString | str:
        return format_html('<pre class="functions-traceback">{}</pre>', environment.lock) if environment.lock else "-"

    @admin.display(description="log")
    def shown_log(self, environment: Environment) -> SafeString | str:
        return format_html('<pre class="functions-traceback">{}</pre>', environment.log) if environment.log else "-"
