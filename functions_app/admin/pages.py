"""What the pages of one function share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from functions_app.models import Function

if TYPE_CHECKING:
    from functions_app.admin.function import FunctionAdmin

CSS = {"all": ("functions_app/admin.css",)}


def moment(when: datetime) -> str:
    """Returns a moment to the second, in the time zone of the pages: rows are told apart by it."""
    return f"{timezone.localtime(when):%Y-%m-%d %H:%M:%S}"


class Page(NamedTuple):
    """A page of one function that another app adds: its place under the function's own, and the words of its link."""

    route: str
    name: str
    label: str
    view: Callable[[FunctionAdmin, HttpRequest, str], HttpResponse]

    @property
    def url_name(self) -> str:
        return f"admin:functions_app_function_{self.name}"


added: list[Page] = []


def add(page: Page) -> None:
    """Adds a page to every function; whoever may view the function is shown its link."""
    added.append(page)


def page(admin: ModelAdmin[Function], route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    """Returns the URL of a page of one function, behind the admin's login."""
    return path(f"<str:object_id>/{route}", admin.admin_site.admin_view(view), name=f"functions_app_function_{name}")


def function_or_404(object_id: str) -> Function:
    """Returns the function with its live version, or answers 404. Ids are quoted as the admin does in its URLs."""
    found = Function.objects.select_related("live").filter(pk=unquote(object_id).replace("\0", ""))
    if (function := found.first()) is None:
        raise Http404("There is no such function.")
    return function


def render(
    admin: ModelAdmin[Function], request: HttpRequest, function: Function, template: str, title: str, **context: Any
) -> TemplateResponse:
    """Answers with a page that has the admin's frame."""
    request.current_app = admin.admin_site.name
    full = {
        **admin.admin_site.each_context(request),
        "opts": Function._meta,
        "original": function,
        "title": title,
        "subtitle": str(function),
        "media": admin.media,
        **context,
    }
    return TemplateResponse(request, f"admin/functions_app/function/{template}", full)


def admin_form(form: Any, heading: str | None = None, groups: Any = None) -> AdminForm:
    """Returns a plain form in the admin's dress: one set of fields, or ``groups`` of headings with options."""
    names = [name for name in form.fields if not form.fields[name].widget.is_hidden]
    return AdminForm(form, groups or [(heading, {"fields": names})], {})
