"""Where functions are configured. "May configure" is change permission on valves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from functions_app.admin import pages
from functions_app.fields import UndecryptableValves
from functions_app.models import Function, Valves
from functions_app.runtime import InvalidValves, LoadError, get_runtime
from functions_app.valves import properties, secret_fields
from functions_app.valves_form import ValvesForm, form_class

if TYPE_CHECKING:
    from functions_app.admin.function import FunctionAdmin

    _Admin = admin.ModelAdmin[Valves]
else:
    _Admin = admin.ModelAdmin


def may_configure(request: HttpRequest) -> bool:
    """Whether this person may set valves."""
    return request.user.has_perm("functions_app.change_valves")


@admin.register(Valves)
class ValvesAdmin(_Admin):
    """The list of functions that have valves, for those who may configure and perhaps nothing else."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not may_configure(request):
            raise PermissionDenied
        functions = Function.objects.filter(live__manifest__valves__isnull=False).select_related("valves__changed_by")
        context = {
            **self.admin_site.each_context(request),
            "opts": Valves._meta,
            "title": "Functions to configure",
            "functions": [function for function in functions.defer("meta") if _schema(function)],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/functions_app/valves/list.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not may_configure(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            return HttpResponseRedirect(reverse("admin:functions_app_valves_changelist"))
        return HttpResponseRedirect(reverse("admin:functions_app_function_valves", args=[quote(row.function_id)]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Valves | None = None) -> bool:
        return may_configure(request)

    def has_delete_permission(self, request: HttpRequest, obj: Valves | None = None) -> bool:
        # Valves go with their function, so whoever may delete that may delete them.
        return request.user.has_perm("functions_app.delete_function")


def valves_page(admin: FunctionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Shows and sets the valves of a function: a form made of the live version's schema."""
    if not may_configure(request):
        raise PermissionDenied
    function = pages.function_or_404(object_id)
    schema = _schema(function)
    if not schema:
        return pages.render(admin, request, function, "form.html", "Valves", empty=_nothing(function))
    row = Valves.objects.filter(function=function).select_related("changed_by").first()
    stored, notes = _stored(row)
    resolved, more = _resolved(function, request, schema)
    made = form_class(resolved, stored, row.rules if row else None)
    if request.method == "POST":
        form = made(request.POST)
        if form.is_valid() and _set(function, form, request):
            admin.log_change(request, function, "Changed the valves.")
            messages.success(request, f"The valves of “{function}” were set.")
            return HttpResponseRedirect(request.path)
        if secret_fields(resolved) & set(form.changed_data):
            notes.append("Secrets are never shown again, so please type them once more.")
    else:
        form = made()
    return pages.render(
        admin,
        request,
        function,
        "form.html",
        "Valves",
        adminform=pages.admin_form(form),
        form=form,
        notes=notes + more,
        changed=row,
    )


def _schema(function: Function) -> Any:
    """Returns the schema that the live version had at its inspection; None when there is nothing to set."""
    schema = (function.live.manifest or {}).get("valves") if function.live else None
    return schema if properties(schema) else None


def _nothing(function: Function) -> str:
    if function.live is None:
        return "No version of this function is live, so there is nothing to configure yet."
    return "The live version of this function has no valves."


def _stored(row: Valves | None) -> tuple[dict[str, Any], list[str]]:
    try:
        return (dict(row.values) if row else {}), []
    except UndecryptableValves as error:
        return {}, [f"{error} Until then this form starts from the defaults, and saving it replaces what was set."]


def _resolved(function: Function, request: HttpRequest, schema: Any) -> tuple[Any, list[str]]:
    """Returns the schema with the options that the function computes; the plain one when that fails."""
    live, user = function.live, request.user
    if live is None or not _has_dynamic_options(schema):
        return schema, []
    try:
        return get_runtime().options(live, "valves", user if user.is_authenticated else None) or schema, []
    except LoadError as error:
        return schema, [f"The choices that the function offers could not be had: {error}"]


def _has_dynamic_options(schema: Any) -> bool:
    hints = (prop.get("input") for prop in properties(schema).values())
    return any(isinstance(hint, dict) and isinstance(hint.get("options"), str) for hint in hints)


def _set(function: Function, form: ValvesForm, request: HttpRequest) -> bool:
    """Sets what the form says; returns False with the errors on the form when the function's model refuses it."""
    by = request.user if request.user.is_authenticated else None
    try:
        Valves.objects.set_values(function, form.values(), by)
    except InvalidValves as error:
        form.explain(error.errors)
    except (LoadError, ValidationError) as error:
        form.add_error(None, error.messages if isinstance(error, ValidationError) else str(error))
    return not form.errors
