"""System checks: mistakes in the configuration, found at start instead of in a request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError
from django.utils.module_loading import import_string

from functions_app.fields import Sealed, UndecryptableValves, keyring
from functions_app.oidc import NEW_USERS
from functions_app.policy import Policy
from functions_app.roles import ROLES


def register() -> None:
    """Registers the checks of this app."""
    checks.register(check_valve_keys, checks.Tags.security)
    checks.register(check_policy)
    checks.register(check_runtime)
    checks.register(check_provider)
    checks.register(check_uploads)
    checks.register(check_everybody, checks.Tags.security)
    checks.register(check_stored_valves, checks.Tags.database)
    checks.register(check_generated_key, checks.Tags.security, deploy=True)


def check_valve_keys(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``functions.E001``: valves can't be encrypted."""
    try:
        keyring()
    except ImproperlyConfigured as error:
        hint = "Leave VALVE_KEYS empty to have a key generated in DATA_DIR, or list Fernet keys, the newest first."
        return [checks.Error(str(error), hint=hint, id="functions.E001")]
    return []


def check_policy(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``functions.E002``, ``E003``, ``E006``: the installation's policy, import rule or list of hosts is wrong."""
    found: list[CheckMessage] = []
    policy: object = settings.FUNCTIONS_POLICY
    if not isinstance(policy, dict) or not set(policy) <= {"defaults", "ceilings"}:
        message = 'FUNCTIONS_POLICY must be {"defaults": {...}, "ceilings": {...}}.'
        found.append(checks.Error(message, id="functions.E002"))
    else:
        for part, fields in policy.items():
            found += [checks.Error(f"FUNCTIONS_POLICY, {part}: {text}", id="functions.E002") for text in _wrong(fields)]
    texts = _wrong({"allow": settings.FUNCTIONS_LOAD_FROM})
    found += [checks.Error(f"FUNCTIONS_LOAD_FROM: {text}", id="functions.E006") for text in texts]
    if settings.FUNCTIONS_IMPORTS != {}:
        texts = _wrong({"imports": settings.FUNCTIONS_IMPORTS})
        found += [checks.Error(f"FUNCTIONS_IMPORTS: {text}", id="functions.E003") for text in texts]
    return found


def _wrong(partial: Any) -> Sequence[str]:
    try:
        Policy.clean(partial)
    except ValidationError as error:
        if hasattr(error, "error_dict"):
            return [f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()]
        return error.messages
    return ()


def check_runtime(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``functions.E004``: nobody runs code for this app."""
    try:
        import_string(settings.FUNCTIONS_RUNTIME)
    except ImportError as error:
        return [checks.Error(f"FUNCTIONS_RUNTIME cannot be imported: {error}.", id="functions.E004")]
    return []


def check_everybody(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``functions.E007``: everybody is allowed what there is not, a slip that would shut everybody out."""
    wrong = [name for name in settings.FUNCTIONS_EVERYBODY if name not in ROLES]
    if not wrong or settings.FUNCTIONS_EVERYBODY == ["none"]:
        return []
    message = f"FUNCTIONS_EVERYBODY names {', '.join(map(repr, wrong))}, which is no permission of functions."
    return [checks.Error(message, hint=f"There are {', '.join(ROLES)}, and none for nothing.", id="functions.E007")]


def check_provider(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``functions.E008``: signing in through a provider is half configured, or in a way that can't work."""
    issuer, client = settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID
    if not (issuer or client or settings.OIDC_CLIENT_SECRET):
        return []
    texts = []
    if not issuer or not client:
        missing = "OIDC_ISSUER" if not issuer else "OIDC_CLIENT_ID"
        texts.append(f"{missing} is missing, so nobody can sign in through a provider. Set it, or empty the others.")
    url = urlsplit(issuer)
    here = url.hostname in ("127.0.0.1", "localhost", "::1")
    if issuer and not (url.hostname and (url.scheme == "https" or (url.scheme == "http" and here))):
        texts.append("OIDC_ISSUER must be an address with https:// (http:// only on this machine).")
    if "openid" not in settings.OIDC_SCOPES.split():
        texts.append("OIDC_SCOPES must have openid among its words.")
    if settings.OIDC_NEW_USERS not in NEW_USERS:
        texts.append(f"OIDC_NEW_USERS must be one of {', '.join(NEW_USERS)}, not {settings.OIDC_NEW_USERS!r}.")
    return [checks.Error(text, id="functions.E008") for text in texts]


def check_uploads(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``functions.E009``: limits on files that no file or every file would meet."""
    texts = []
    if not 0 < settings.FUNCTIONS_FILE_MB < math.inf:
        texts.append("FUNCTIONS_FILE_MB must be a number of megabytes above 0.")
    if not 0 <= settings.FUNCTIONS_FILES_PER_USER_MB < math.inf:
        texts.append("FUNCTIONS_FILES_PER_USER_MB must be a number of megabytes, or 0 for no limit.")
    wrong = [entry for entry in settings.FUNCTIONS_FILE_TYPES if not ("/" in entry or entry.startswith("."))]
    if wrong:
        texts.append(
            f"FUNCTIONS_FILE_TYPES has {', '.join(wrong)}; an entry is a type such as image/* or an ending such as "
            ".pdf."
        )
    return [checks.Error(text, id="functions.E009") for text in texts]


def check_stored_valves(app_configs: Any, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """``functions.E005``: stored valves that no key decrypts. Looks at the database only when it is asked to."""
    from functions_app.models import OAuthToken, UserValves, Valves

    if not databases or "default" not in databases:
        return []
    lost = 0
    try:
        for model in (Valves, UserValves, OAuthToken):
            for value in model._base_manager.values_list("values", flat=True).iterator():
                try:
                    if isinstance(value, Sealed):
                        value.open()
                except UndecryptableValves:
                    lost += 1
    except (DatabaseError, ImproperlyConfigured):
        return []  # not migrated yet, or E001 already says it
    if not lost:
        return []
    sets = f"{lost} stored set{'s' * (lost != 1)} of valves or tokens"
    message = f"{sets} cannot be decrypted with any key in VALVE_KEYS."
    hint = "Add the key they were saved with to the end of VALVE_KEYS, then run manage.py rotate_valve_keys."
    return [checks.Error(message, hint=hint, id="functions.E005")]


def check_generated_key(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """``functions.W001``: the key lies in ``DATA_DIR`` of one node while the database is shared."""
    path = settings.DATA_DIR / "valve_key"
    local = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
    if local or not path.is_file() or settings.VALVE_KEYS[:1] != [path.read_text().strip()]:
        return []
    return [
        checks.Warning(
            f"Valves are encrypted with a key generated in {path}, but the database may be shared with other nodes.",
            hint="Set VALVE_KEYS to the same keys on every node, and keep them in your backup.",
            id="functions.W001",
        )
    ]
