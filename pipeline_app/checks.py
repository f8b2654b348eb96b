"""System checks of what runs functions: its settings, and on deployment what its isolation is really worth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from functions_app.policy import ISOLATION_LEVELS, is_enough
from functions_app.runtime import RequirementError
from pipeline_app.runners import attestation, bubblewrap, environments
from pipeline_app.runners.attestation import Attestation, LayerReport
from pipeline_app.runners.layers import Layers


def register() -> None:
    """Registers the checks of this app."""
    checks.register(check_isolation_settings)
    checks.register(check_packages)
    checks.register(check_base_packages, deploy=True)
    checks.register(check_isolation, checks.Tags.security, deploy=True)


def check_isolation_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``pipeline.E001`` and ``E002``: there is no such level, or no such layer."""
    found: list[CheckMessage] = []
    if settings.FUNCTIONS_MIN_ISOLATION not in ISOLATION_LEVELS:
        message = f"FUNCTIONS_MIN_ISOLATION must be one of {', '.join(ISOLATION_LEVELS)}."
        found.append(checks.Error(message, id="pipeline.E001"))
    try:
        Layers.without(settings.FUNCTIONS_SANDBOX_LAYERS)
    except ImproperlyConfigured as error:
        found.append(checks.Error(str(error), id="pipeline.E002"))
    return found


def check_packages(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``pipeline.E005``: settings on packages of functions that no set of packages could be made with."""
    texts = []
    rule: object = settings.FUNCTIONS_PACKAGES
    if (
        not isinstance(rule, dict)
        or not set(rule) <= {"allow", "deny"}
        or not all(map(_is_list_of_names, rule.values()))
    ):
        texts.append('FUNCTIONS_PACKAGES must be {"allow": [...]} or {"deny": [...]}, with names of packages.')
    urls = [url for url in (settings.FUNCTIONS_INDEX_URL, *settings.FUNCTIONS_EXTRA_INDEX_URLS) if url]
    if not all(url.startswith(("https://", "http://", "file://")) for url in urls):
        # Not repeated here: an address may hold a password.
        texts.append(
            "FUNCTIONS_INDEX_URL and FUNCTIONS_EXTRA_INDEX_URLS must be addresses such as https://host/simple."
        )
    if settings.FUNCTIONS_CONSTRAINTS and not Path(settings.FUNCTIONS_CONSTRAINTS).is_file():
        texts.append(f"FUNCTIONS_CONSTRAINTS names {settings.FUNCTIONS_CONSTRAINTS}, which is no file.")
    if settings.FUNCTIONS_WHEELS is not None and not settings.FUNCTIONS_WHEELS.is_dir():
        texts.append(f"FUNCTIONS_WHEELS names {settings.FUNCTIONS_WHEELS}, which is no folder.")
    if not (0 < settings.FUNCTIONS_BUILD_SECONDS < math.inf and 0 < settings.FUNCTIONS_BUILD_MB < math.inf):
        texts.append("FUNCTIONS_BUILD_SECONDS and FUNCTIONS_BUILD_MB must be numbers above 0.")
    if not 0 <= settings.FUNCTIONS_ENVIRONMENTS_MB < math.inf:
        texts.append("FUNCTIONS_ENVIRONMENTS_MB must be a number above 0, or 0 for no limit.")
    return [checks.Error(text, id="pipeline.E005") for text in texts]


def check_base_packages(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``pipeline.W003``: what functions find installed is not there, as after an update of Python."""
    try:
        base = environments.base_packages()
    except RequirementError as error:
        return [checks.Warning(str(error), id="pipeline.W003")]
    if base.is_built:
        return []
    message = f"The base packages of functions are not installed for {environments.python_tag()}."
    hint = f"Run {environments.INSTALL_COMMAND}; else the server installs them when it has started."
    return [checks.Warning(message, hint=hint, id="pipeline.W003")]


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def check_isolation(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Says which layers hold around functions on this machine, found out by attacks from a real worker.

    ``pipeline.I001`` is the level, ``I002`` a layer that holds, ``W001`` one that does not (``I003`` when nothing
    but the highest level needs it), ``W002`` a layer left out by configuration; ``E003`` a level below the least
    that is asked for, ``E004`` a sandbox that does not start.
    """
    if check_isolation_settings(None):
        return []  # said already
    found: list[CheckMessage] = []
    if settings.FUNCTIONS_SANDBOX_LAYERS:
        message = f"Layers are left out of the sandbox: {', '.join(settings.FUNCTIONS_SANDBOX_LAYERS)}."
        hint = "Unset FUNCTIONS_SANDBOX_LAYERS: it is for tests."
        found.append(checks.Warning(message, hint=hint, id="pipeline.W002"))
    try:
        attested = _attested()
    except Exception as error:  # whatever keeps the sandbox from starting is what this check is for
        hint = "Functions do not run until this is solved. docs/operations.md says what each level needs."
        return [*found, checks.Error(f"The sandbox does not start: {error}", hint=hint, id="pipeline.E004")]
    found.append(checks.Info(f"Functions are isolated at the level '{attested.level}'.", id="pipeline.I001"))
    if settings.FUNCTIONS_RUNNER == "inline":
        message = "Functions run in the server's own process and may do all that it may do."
        hint = "Set FUNCTIONS_RUNNER=process unless every author is trusted with the server."
        found.append(checks.Warning(message, hint=hint, id="pipeline.W001"))
    else:
        found += [_message(layer) for layer in attested.layers]
    least = settings.FUNCTIONS_MIN_ISOLATION
    if not is_enough(attested.level, least):
        message = f"The isolation level is '{attested.level}', below FUNCTIONS_MIN_ISOLATION='{least}'."
        hint = "Functions do not run. Add what the missing layers need, or lower the setting knowingly."
        found.append(checks.Error(message, hint=hint, id="pipeline.E003"))
    return found


def _message(layer: LayerReport) -> CheckMessage:
    if layer.held:
        return checks.Info(f"{layer.name}: holds. {layer.detail}", id="pipeline.I002")
    message = f"{layer.name}: does not hold. {layer.detail}"
    if layer.name in attestation.LEVELS["strict"]:
        return checks.Info(message, hint=bubblewrap.why_not(), id="pipeline.I003")
    return checks.Warning(message, id="pipeline.W001")


def _attested() -> Attestation:
    """Returns what this machine gives, by starting the runner as a server would."""
    from pipeline_app.runtime import engine  # needs the models, which are not there when checks are registered

    try:
        engine.wait_for(engine.runner.open())
    except Exception as error:
        found: Attestation | None = getattr(error, "attestation", None)
        if found is None:
            raise
        return found
    return engine.runner.attestation or attestation.INLINE
