"""The packages that a source asks for, as far as they are known here: nothing is resolved and no index is asked."""

from __future__ import annotations

from functions_app.models import Environment, FunctionVersion
from functions_app.models.environment import requirement_key
from functions_app.runtime import RequirementError
from pipeline_app.preparing import is_there
from pipeline_app.runners import environments


def look_up(version: FunctionVersion) -> str:
    """Lets a version, which need not be saved, be checked with its packages where they are installed on this machine.

    Returns why they could not be had when that was last tried; empty when it worked, or never was tried.
    """
    try:
        requirements = version.requirements
        python, base = environments.python_tag(), environments.ground_digest()
    except RequirementError:
        return ""
    if not requirements:
        return ""
    row = Environment.objects.wanted_by(version, requirements, python, base)
    if row is not None and is_there(row):
        version.environment = row
        return ""
    tried = Environment.objects.filter(key=requirement_key(requirements, python)).order_by("-updated_at").first()
    if tried is None or tried.state != Environment.State.FAILED:
        return ""
    return str((tried.error or {}).get("message", ""))
