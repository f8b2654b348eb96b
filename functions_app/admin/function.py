"""Functions: the list, and the form in which they are written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.db.models import OuterRef, QuerySet, Subquery
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from functions_app import generation, roles
from functions_app.admin import pages
from functions_app.admin.policy import may_change_policy, policy_page
from functions_app.admin.valves import may_configure, rules_page, valves_page
from functions_app.admin.versions import publish, version_page, versions_page
from functions_app.forms import FunctionForm
from functions_app.models import Function, FunctionVersion, User
from functions_app.runtime import get_runtime

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Function]
else:
    _Admin = admin.ModelAdmin


@admin.register(Function)
class FunctionAdmin(_Admin):
    form = FunctionForm
    list_display = ("id", "name", "kind", "shown_state", "is_active", "is_global", "updated")
    list_display_links = ("id", "name")
    list_filter = ("kind", "is_active", "is_global")
    search_fields = ("id", "name")
    actions = ("publish_newest", "activate", "deactivate", "make_global", "make_not_global", "restart", "load_again")
    raw_id_fields = ("owner",)
    readonly_fields = ("kind", "shown_state", "shown_error", "shown_source", "created_at", "updated_at")

    class Media:
        css = pages.CSS

    # --- Who may ---------------------------------------------------------------------------------

    # Of Django's own four permissions only view and change are asked for: who writes functions also makes and
    # deletes them.

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Function | None = None) -> bool:
        return roles.has(request.user, roles.VIEW, roles.AUTHOR)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return roles.has(request.user, roles.AUTHOR)

    def has_change_permission(self, request: HttpRequest, obj: Function | None = None) -> bool:
        return roles.has(request.user, roles.AUTHOR)

    def has_delete_permission(self, request: HttpRequest, obj: Function | None = None) -> bool:
        """One that is switched on is taken away only by who may switch it off."""
        may = roles.has(request.user, roles.AUTHOR)
        return may and (obj is None or not obj.is_active or self.has_publish_permission(request))

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Whether this person may let versions serve and turn the switches."""
        return roles.has(request.user, roles.ACTIVATE)

    # --- The list --------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Function]:
        newest = FunctionVersion.objects.filter(function=OuterRef("pk")).order_by("-number")
        return (
            super()
            .get_queryset(request)
            .annotate(
                live_number=Subquery(
                    FunctionVersion.objects.filter(pk=OuterRef("live")).values("number")[:1],
                ),
                newest_number=Subquery(newest.values("number")[:1]),
                newest_state=Subquery(newest.values("state")[:1]),
            )
        )

    @admin.display(description="updated", ordering="updated_at")
    def updated(self, function: Function) -> str:
        return pages.moment(function.updated_at)

    @admin.display(description="state")
    def shown_state(self, function: Any) -> str:
        """Says how the newest version fares, and which one serves when that is another."""
        if function.newest_number is None:
            return "no version"
        newest = f"version {function.newest_number} {function.newest_state}"
        if function.live_number is None:
            return f"{newest}, nothing live"
        return newest if function.live_number == function.newest_number else f"{newest}, {function.live_number} live"

    @admin.action(description="Publish the newest version", permissions=["publish"])
    def publish_newest(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        for function in queryset:
            if (version := function.newest) is not None:
                publish(self, request, version)

    @admin.action(description="Switch on", permissions=["publish"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        self._switch(request, queryset, "is_active", True, "switched on")

    @admin.action(description="Switch off", permissions=["publish"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        self._switch(request, queryset, "is_active", False, "switched off")

    @admin.action(description="Make global", permissions=["publish"])
    def make_global(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        self._switch(request, queryset, "is_global", True, "made global")

    @admin.action(description="Make not global", permissions=["publish"])
    def make_not_global(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        self._switch(request, queryset, "is_global", False, "made not global")

    @admin.action(description="Restart workers and close breakers", permissions=["publish"])
    def restart(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        for function in queryset:
            function.restart()
            get_runtime().forget(function.id)  # this process at once, so that the pages that follow show it
            self.log_change(request, function, "Restarted the workers.")
        messages.success(request, "New calls get new workers, in every server process.")

    @admin.action(description="Clear all caches: every process loads all functions again", permissions=["publish"])
    def load_again(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        get_runtime().forget()
        generation.start_afresh()
        messages.success(request, "Every process reads and loads all functions again with its next request.")

    def _switch(self, request: HttpRequest, queryset: QuerySet[Function], field: str, on: bool, what: str) -> None:
        changed = 0
        for function in queryset.exclude(**{field: on}):
            setattr(function, field, on)
            function.save(update_fields=[field, "updated_at"])
            self.log_change(request, function, f"Function {what}.")
            changed += 1
        messages.success(request, f"{changed} function{'s' * (changed != 1)} {what}.")

    # --- The form --------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Function | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("source", "id", "name", "note")})]
        code = ("source", "note", "base") if self.has_change_permission(request, obj) else ("shown_source",)
        return [
            (None, {"fields": ("name", "kind", "shown_state", "is_active", "is_global")}),
            *([("Last error", {"fields": ("shown_error",)})] if self._error(obj) else []),
            ("Code", {"fields": code, "classes": ("functions-wide",)}),
            ("More", {"fields": ("id", "owner", "created_at", "updated_at"), "classes": ("collapse",)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Function | None = None) -> tuple[str, ...]:
        fields = tuple(self.readonly_fields)
        if obj is not None:
            fields += ("id",)
        if not self.has_publish_permission(request):
            fields += ("is_active", "is_global")
        return fields

    def _error(self, function: Function) -> dict[str, Any] | None:
        newest = function.newest
        return newest.error if newest is not None and newest.state == newest.State.BROKEN else None

    @admin.display(description="what happened")
    def shown_error(self, function: Function) -> SafeString:
        """Shows why the newest version can't go live: the sentence, then the author's part of the traceback."""
        error = self._error(function) or {}
        line = f" in line {error['line']}" if error.get("line") else ""
        return format_html(
            '<p><strong>{}</strong>{}: {}</p><pre class="functions-traceback">{}</pre>',
            error.get("type", ""),
            line,
            error.get("message", ""),
            error.get("traceback") or "",
        )

    @admin.display(description="code")
    def shown_source(self, function: Function) -> SafeString:
        newest = function.newest
        return format_html('<pre class="functions-code">{}</pre>', newest.source if newest is not None else "")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"source": request.GET.get("source", "")}

    def save_model(self, request: HttpRequest, obj: Function, form: Form, change: bool) -> None:
        author = request.user if isinstance(request.user, User) else None
        if not change:
            obj.owner = author
        made = not isinstance(form, FunctionForm) or form.has_new_source()
        super().save_model(request, obj, form, change)
        version = obj.save_source(form.cleaned_data["source"], author, form.cleaned_data["note"])
        waiting = version.state in (version.State.DRAFT, version.State.BROKEN, version.State.BUILDING)
        if made or waiting:
            request.saved_version = version  # type: ignore[attr-defined]  # for changeform_view, which has no other channel

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Publishes what was saved after the form's own transaction: checking takes seconds, and a refusal
        must not undo the save."""
        context = {
            "may_publish": self.has_publish_permission(request),
            "may_change_policy": may_change_policy(request),
            "may_configure": may_configure(request),
            "added_pages": pages.added,
            **(extra_context or {}),
        }
        response = super().changeform_view(request, object_id, form_url, context)
        version: FunctionVersion | None = getattr(request, "saved_version", None)
        if version is None:
            return response
        if "_draft" in request.POST:
            messages.info(request, f"Version {version.number} was saved as a draft; it does not serve.")
        elif not self.has_publish_permission(request):
            messages.warning(
                request, f"Version {version.number} was saved as a draft: somebody who may publish has to let it serve."
            )
        elif not publish(self, request, version):
            page = reverse("admin:functions_app_function_change", args=[quote(version.function_id)])
            response = HttpResponseRedirect(page)
        if not self.has_view_or_change_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        return response

    # --- The other pages -------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        return [
            pages.page(self, "versions/", partial(versions_page, self), "versions"),
            pages.page(self, "versions/<int:number>/", partial(version_page, self), "version"),
            pages.page(self, "valves/", partial(valves_page, self), "valves"),
            pages.page(self, "valves/rules/", partial(rules_page, self), "rules"),
            pages.page(self, "policy/", partial(policy_page, self), "policy"),
            *(pages.page(self, added.route, partial(added.view, self), added.name) for added in pages.added),
            *super().get_urls(),
        ]
