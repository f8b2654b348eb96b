"""What stands between author code and this server, layer by layer, as it was attested when the server started."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from functions_app import roles
from functions_app.models import Function
from functions_app.policy import ISOLATION_LEVELS, Policy, is_enough
from pipeline_app.runtime import engine

LEVELS = {
    "strict": "Everything of standard; bubblewrap also hides the machine's files and processes.",
    "standard": "No file, socket or process of the machine can be used. Whether a known path exists can be told.",
    "basic": "System calls are filtered, but files are open to functions as they are to the server's own user.",
    "process": "Functions run apart, with limits and a clean environment. Nothing keeps them from files or network.",
    "inline": "Functions run inside the server's process, with all that it may do. For code that you trust.",
}
SAFE = "standard"


def below_standard(level: str) -> bool:
    """Whether a level leaves files or network open to functions."""
    return not is_enough(level, SAFE)


def too_little(level: str, policy: Policy) -> bool:
    """Whether a policy wants more isolation than a level gives."""
    return not is_enough(level, policy.min_isolation)


def isolation_page(request: HttpRequest) -> HttpResponse:
    """Shows level and layers of this server process, and which functions ask for more."""
    if not roles.has(request.user, roles.VIEW):
        raise PermissionDenied
    runner = engine.runner
    level, attestation = runner.isolation, runner.attestation
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Isolation of functions",
        "level": level,
        "levels": [(name, LEVELS[name], name == level) for name in reversed(ISOLATION_LEVELS)],
        "least": settings.FUNCTIONS_MIN_ISOLATION,
        "below": below_standard(level),
        "attested": attestation is not None,
        "layers": attestation.layers if attestation is not None else (),
        "probes": sorted(attestation.results.items()) if attestation is not None else (),
        "refused": _refused(level),
    }
    return TemplateResponse(request, "admin/pipeline_app/isolation.html", context)


def _refused(level: str) -> list[tuple[Function, str]]:
    """Returns the functions whose policy wants more than there is, with what it wants."""
    found = []
    for function in Function.objects.filter(is_active=True).only("id", "name", "policy"):
        policy = function.effective_policy()
        if too_little(level, policy):
            found.append((function, policy.min_isolation))
    return found
