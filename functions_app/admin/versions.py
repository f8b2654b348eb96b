"""The versions of a function: a list, the source of one, and publishing one again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from functions_app.admin import pages
from functions_app.models import Function, FunctionVersion

if TYPE_CHECKING:
    from functions_app.admin.function import FunctionAdmin

PAGE = 50


def versions_page(admin: FunctionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Lists the versions, newest first; a POST publishes the one it names."""
    function = pages.function_or_404(object_id)
    if not admin.has_view_or_change_permission(request, function):
        raise PermissionDenied
    if request.method == "POST":
        if not admin.has_publish_permission(request):
            raise PermissionDenied
        publish(admin, request, _version_or_404(function, request.POST.get("number", "")))
        return HttpResponseRedirect(request.path)
    rows = function.versions.select_related("author").defer("source", "manifest")
    found = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    return pages.render(
        admin,
        request,
        function,
        "versions.html",
        "Versions",
        versions=found,
        may_publish=admin.has_publish_permission(request),
    )


def version_page(admin: FunctionAdmin, request: HttpRequest, object_id: str, number: int) -> HttpResponse:
    """Shows the source of one version, and why it is broken if it is."""
    function = pages.function_or_404(object_id)
    if not admin.has_view_or_change_permission(request, function):
        raise PermissionDenied
    version = _version_or_404(function, str(number))
    return pages.render(admin, request, function, "version.html", f"Version {number}", version=version)


def publish(admin: FunctionAdmin, request: HttpRequest, version: FunctionVersion) -> bool:
    """Publishes a version and tells the admin how it went; returns whether it is live."""
    published = version.publish()
    function = version.function
    if published:
        admin.log_change(request, function, f"Published version {version.number}.")
        switch = "" if function.is_active else " The function is switched off, so nobody can call it yet."
        messages.success(request, f"Version {version.number} of “{function}” is live.{switch}")
        return True
    function.refresh_from_db()
    error = version.error or {}
    message = str(error.get("message", "")).rstrip(".")
    line = f" (line {error['line']})" if error.get("line") else ""
    serves = f"Version {function.live.number} goes on serving." if function.live else "No version serves yet."
    if version.state == version.State.BROKEN:
        text = f"Version {version.number} was kept but can't go live: {message}{line}. {serves}"
    else:
        text = f"{message}."
    messages.error(request, text)
    return False


def _version_or_404(function: Function, number: str) -> FunctionVersion:
    if number.isascii() and number.isdigit() and len(number) < 10:
        rows = FunctionVersion.objects.select_related("function", "author")
        if (version := rows.filter(function=function, number=int(number)).first()) is not None:
            return version
    raise Http404("There is no such version.")
