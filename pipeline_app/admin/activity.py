"""What a function did and does: totals, its workers, where it went on the network, when its breaker opened."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from functions_app import roles
from functions_app.admin import pages
from functions_app.admin.policy import may_change_policy
from pipeline_app import usage
from pipeline_app.admin.isolation import too_little
from pipeline_app.models import Destination, Trip
from pipeline_app.runs import log
from pipeline_app.runtime import engine

if TYPE_CHECKING:
    from functions_app.admin.function import FunctionAdmin

WINDOWS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
SHOWN = 50
TRIPS_SHOWN = 10


def activity_page(admin: FunctionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Shows what a function did; a POST restarts its workers and closes its breaker, in every process."""
    function = pages.function_or_404(object_id)
    if not admin.has_view_or_change_permission(request, function):
        raise PermissionDenied
    if request.method == "POST":
        if not admin.has_publish_permission(request):
            raise PermissionDenied
        function.restart()
        engine.runner.forget(function.id)  # this process at once, so that the page that follows shows it
        admin.log_change(request, function, "Restarted the workers.")
        messages.success(
            request,
            "New calls get new workers, in every server process; an open breaker is closed. "
            "Calls under way keep theirs until they end.",
        )
        return HttpResponseRedirect(request.get_full_path())
    window = request.GET.get("over", "day")
    window = window if window in WINDOWS else "day"
    log.write()  # what this process has seen by now is to be in the figures
    state, policy = _state(function.id), function.effective_policy()
    destinations = Destination.objects.filter(function=function.id)
    return pages.render(
        admin,
        request,
        function,
        "activity.html",
        "Activity",
        window=window,
        windows=list(WINDOWS),
        stats=usage.stats(function.id, WINDOWS[window]),
        workers=state["workers"],
        breaker=_breaker(state["breaker"]),
        isolation=engine.runner.isolation,
        process=f"{socket.gethostname()}, process {os.getpid()}",
        policy=policy,
        refused=too_little(engine.runner.isolation, policy),
        may_change_policy=may_change_policy(request),
        destinations=destinations[:SHOWN],
        more=max(0, destinations.count() - SHOWN),
        trips=Trip.objects.filter(function=function.id)[:TRIPS_SHOWN],
        may_restart=admin.has_publish_permission(request),
        may_audit=roles.has(request.user, roles.AUDIT),
    )


def _state(function_id: str) -> dict[str, Any]:
    """Asks the runner where it lives: on its loop."""

    async def ask() -> dict[str, Any]:
        return engine.runner.state(function_id)

    return engine.wait_for(ask())


def _breaker(told: dict[str, Any] | None) -> dict[str, Any] | None:
    if told is None:
        return None
    moments = {name: datetime.fromtimestamp(told[name], tz=UTC) for name in ("opened_at", "until")}
    return {**told, **moments, "reason": told["reason"].rstrip(".")}


PAGE = pages.Page("activity/", "activity", "Activity", activity_page)
