"""The versions of a function: a list, the source of one, and publishing one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models.functions import Right
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from functions_app.admin import pages
from functions_app.models import Function, FunctionVersion
from functions_app.models.environment import last_line
from functions_app.runtime import get_runtime
from functions_app.wire import facts

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
    rows = function.versions.select_related("author", "environment")
    rows = rows.defer("source", "manifest", "environment__lock", "environment__log")
    rows = rows.annotate(log_end=Right("environment__log", 500))
    found: Any = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    for version in found:
        version.progress = last_line(version.log_end or "")
    return pages.render(
        admin,
        request,
        function,
        "versions.html",
        "Versions",
        versions=found,
        is_building=any(version.state == version.State.BUILDING for version in found),
        may_publish=admin.has_publish_permission(request),
    )


def version_page(admin: FunctionAdmin, request: HttpRequest, object_id: str, number: int) -> HttpResponse:
    """Shows the source of one version, how its packages fare, and why it is broken if it is; a POST publishes it."""
    function = pages.function_or_404(object_id)
    if not admin.has_view_or_change_permission(request, function):
        raise PermissionDenied
    version = _version_or_404(function, str(number))
    if request.method == "POST":
        if not admin.has_publish_permission(request):
            raise PermissionDenied
        publish(admin, request, version)
        return HttpResponseRedirect(request.path)
    return pages.render(
        admin,
        request,
        function,
        "version.html",
        f"Version {number}",
        version=version,
        is_building=version.state == version.State.BUILDING,
        may_publish=admin.has_publish_permission(request),
    )


def publish(admin: FunctionAdmin, request: HttpRequest, version: FunctionVersion) -> bool:
    """Publishes a version and tells the admin how it went; returns whether it is live.

    What takes longer than a moment goes on by itself.
    """
    # One that served before gets back the name that it served under.
    published = get_runtime().publish(version, **(facts(version) if version.state == version.State.RETIRED else {}))
    function = version.function
    if published is None:
        admin.log_change(request, function, f"Began to publish version {version.number}.")
        messages.info(
            request,
            f"Version {version.number} is being built: its packages are made ready, then its code is checked. "
            f"It goes live by itself when that is done; the page “Versions” shows how it gets on. {_serves(function)}",
        )
        return False
    if published:
        admin.log_change(request, function, f"Published version {version.number}.")
        switch = "" if function.is_active else " The function is switched off, so nobody can call it yet."
        messages.success(request, f"Version {version.number} of “{function}” is live.{switch}")
        return True
    function.refresh_from_db()
    error = version.error or {}
    message = str(error.get("message", "")).rstrip(".")
    line = f" (line {error['line']})" if error.get("line") else ""
    if version.state == version.State.BROKEN:
        text = f"Version {version.number} was kept but can't go live: {message}{line}. {_serves(function)}"
    else:
        text = f"{message}."
    messages.error(request, text)
    return False


def _serves(function: Function) -> str:
    function.refresh_from_db()
    return f"Version {function.live.number} goes on serving." if function.live else "No version serves yet."


def _version_or_404(function: Function, number: str) -> FunctionVersion:
    if number.isascii() and number.isdigit() and len(number) < 10:
        rows = FunctionVersion.objects.select_related("function", "author", "environment")
        if (version := rows.filter(function=function, number=int(number)).first()) is not None:
            return version
    raise Http404("There is no such version.")
