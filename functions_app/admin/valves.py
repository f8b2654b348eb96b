"""Where functions are configured. "May configure" is change permission on valves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from functions_app import configuration, roles
from functions_app.admin import pages
from functions_app.fields import UndecryptableValves
from functions_app.models import Function, Valves
from functions_app.rules_form import SCOPES, RulesForm
from functions_app.runtime import InvalidValves, LoadError
from functions_app.valves import properties, secret_fields
from functions_app.valves_form import ValvesForm, form_class

if TYPE_CHECKING:
    from functions_app.admin.function import FunctionAdmin

    _Admin = admin.ModelAdmin[Valves]
else:
    _Admin = admin.ModelAdmin


def may_configure(request: HttpRequest) -> bool:
    """Whether this person may set valves."""
    return roles.has(request.user, roles.CONFIGURE)


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
        return roles.has(request.user, roles.AUTHOR)


def valves_page(admin: FunctionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Shows and sets the valves of a function: a form made of the live version's schema."""
    if not may_configure(request):
        raise PermissionDenied
    function = pages.function_or_404(object_id)
    schema = _schema(function)
    if not schema:
        links = _links(function, "rules") if _schema(function, "user_valves") else []
        return pages.render(admin, request, function, "form.html", "Valves", empty=_nothing(function), links=links)
    row = Valves.objects.filter(function=function).select_related("changed_by").first()
    stored, notes = _stored(row)
    rules = row.rules if row else {}
    user = request.user if request.user.is_authenticated else None
    assert function.live is not None
    function.live.function = function
    resolved, problem = configuration.schema_for(function.live, "valves", user, {})
    made = form_class(resolved, stored, rules)
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
        notes=[*notes, problem] if problem else notes,
        links=_links(function, "rules"),
        changed=row,
    )


def rules_page(admin: FunctionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Shows and sets the rules on the valves of a function, and on those of its users."""
    if not may_configure(request):
        raise PermissionDenied
    function = pages.function_or_404(object_id)
    manifest = (function.live.manifest if function.live else None) or {}
    schemas = {scope: manifest.get(scope) for scope in SCOPES}
    row = Valves.objects.filter(function=function).select_related("changed_by").first()
    stored = {"valves": row.rules if row else {}, "user_valves": row.user_rules if row else {}}
    form = RulesForm(schemas, stored, request.POST if request.method == "POST" else None)
    if not form.groups:
        return pages.render(admin, request, function, "form.html", "Rules", empty=_nothing(function))
    if request.method == "POST" and form.is_valid() and _set_rules(function, form, request):
        admin.log_change(request, function, "Changed the rules on its valves.")
        messages.success(request, f"The rules on the valves of “{function}” were set.")
        return HttpResponseRedirect(request.path)
    return pages.render(
        admin,
        request,
        function,
        "form.html",
        "Rules",
        adminform=pages.admin_form(form, groups=form.groups),
        form=form,
        links=_links(function, "valves"),
        intro="A rule narrows what may be set, without a change of the code. It holds for the API too.",
        changed=row,
    )


def _set_rules(function: Function, form: RulesForm, request: HttpRequest) -> bool:
    """Sets the rules that the form says; returns False with the errors on the form when they can't be."""
    by = request.user if request.user.is_authenticated else None
    schemas = (function.live.manifest if function.live else None) or {}
    given = {scope: rules for scope, rules in form.given().items() if schemas.get(scope) is not None}
    try:
        Valves.objects.set_rules(function, given, by)
    except InvalidValves as error:
        form.explain(error.errors)
    except (LoadError, ValidationError) as error:
        form.add_error(None, error.messages if isinstance(error, ValidationError) else str(error))
    return not form.errors


def _links(function: Function, to: str) -> list[tuple[str, str]]:
    """Returns the link from one of the two pages to the other."""
    label = "Valves" if to == "valves" else "Rules on valves"
    return [(label, reverse(f"admin:functions_app_function_{to}", args=[quote(function.pk)]))]


def _schema(function: Function, scope: str = "valves") -> Any:
    """Returns the schema that the live version had at its inspection; None when there is nothing to set."""
    schema = (function.live.manifest or {}).get(scope) if function.live else None
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


def _set(function: Function, form: ValvesForm, request: HttpRequest) -> bool:
    """Sets what the form says; returns False with the errors on the form when the function's model refuses it."""
    by = request.user if request.user.is_authenticated else None
    try:
        Valves.objects.set_values(function, form.values(), by, anew=True)
    except InvalidValves as error:
        form.explain(error.errors)
    except (LoadError, ValidationError) as error:
        form.add_error(None, error.messages if isinstance(error, ValidationError) else str(error))
    return not form.errors
