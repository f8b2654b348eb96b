"""The page on which a function's policy is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from functions_app import roles
from functions_app.admin import pages
from functions_app.policy_form import PolicyForm

if TYPE_CHECKING:
    from functions_app.admin.function import FunctionAdmin


NOT_HELD = (
    "Functions run in the server's own process (FUNCTIONS_RUNNER=inline): "
    "CPU limit, memory, disk, threads, network and allow are kept, but nothing enforces them."
)


def may_change_policy(request: HttpRequest) -> bool:
    """Whether this person holds the policy's own permission."""
    return roles.has(request.user, roles.SET_POLICY)


def policy_page(admin: FunctionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Shows and changes what a function may do."""
    if not may_change_policy(request):
        raise PermissionDenied
    function = pages.function_or_404(object_id)
    form = PolicyForm(function.policy, settings.FUNCTIONS_POLICY, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        function.change_policy(form.partial())
        admin.log_change(request, function, "Changed the policy.")
        messages.success(request, f"The policy of “{function}” was changed.")
        return HttpResponseRedirect(request.path)
    return pages.render(
        admin,
        request,
        function,
        "form.html",
        "Policy",
        adminform=pages.admin_form(form),
        form=form,
        notes=[NOT_HELD] if settings.FUNCTIONS_RUNNER == "inline" else [],
    )
