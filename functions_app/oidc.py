"""What is asked of the OpenID provider beside signing in: its metadata, and new tokens for old ones.

Blocking; for threads. Nothing that is raised or logged here holds a token or the client's secret.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import requests
from django.conf import settings

Json = dict[str, Any]

PROVIDER_ID = "oidc"
NEW_USERS = ("active", "pending", "refuse")
"""What may become of people who are not known here (``OIDC_NEW_USERS``)."""
WELL_KNOWN = "/.well-known/openid-configuration"
SECONDS = 10.0
"""How long the provider has to answer."""
METADATA_SECONDS = 3600.0

_lock = threading.Lock()
_metadata: dict[str, tuple[float, Json]] = {}


class Unreachable(Exception):
    """The provider does not answer, or not with what it should: trying again later may help."""


class Refused(Exception):
    """The provider does not renew this token: its user has to sign in again."""


def is_on() -> bool:
    """Whether people may sign in through a provider."""
    return bool(settings.OIDC_ISSUER and settings.OIDC_CLIENT_ID)


def metadata_url(issuer: str) -> str:
    return issuer if "/.well-known/" in issuer else issuer.rstrip("/") + WELL_KNOWN


def metadata() -> Json:
    """Returns the provider's metadata, asked once an hour. Raises ``Unreachable``."""
    url = metadata_url(settings.OIDC_ISSUER)
    with _lock:
        found = _metadata.get(url)
        if found is not None and found[0] > time.monotonic():
            return found[1]
    try:
        answer = requests.get(url, timeout=SECONDS)
        answer.raise_for_status()
        data = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise Unreachable(f"{url} does not answer with metadata ({type(error).__name__})") from None
    _check(url, data)
    with _lock:
        _metadata[url] = (time.monotonic() + METADATA_SECONDS, data)
    return data  # type: ignore[no-any-return]


def _check(url: str, data: Any) -> None:
    needed = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in needed):
        raise Unreachable(f"the metadata at {url} lacks one of {', '.join(needed)}")
    if url.startswith("https://") and not all(data[name].startswith("https://") for name in needed):
        raise Unreachable(f"the metadata at {url} leads to addresses without TLS")


def renewed(refresh_token: str) -> Json:
    """Returns the token endpoint's answer to a refresh token. Raises ``Refused`` and ``Unreachable``."""
    found = metadata()
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    client = (settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET)
    auth = None
    if _wants_basic(found):
        auth = requests.auth.HTTPBasicAuth(*client)
    else:
        form |= {name: value for name, value in zip(("client_id", "client_secret"), client, strict=True) if value}
    try:
        answer = requests.post(found["token_endpoint"], data=form, auth=auth, timeout=SECONDS, allow_redirects=False)
        data = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise Unreachable(f"the token endpoint does not answer ({type(error).__name__})") from None
    if 400 <= answer.status_code < 500 and _word(data) == "invalid_grant":
        raise Refused("invalid_grant")
    if answer.status_code != 200 or not isinstance(data, dict) or not data.get("access_token"):
        # A wrong secret of ours, among others: the user's token may be good as soon as that is mended.
        raise Unreachable(f"the token endpoint answers with status {answer.status_code} and no token ({_word(data)})")
    return data


def _wants_basic(found: Json) -> bool:
    """Whether the client's secret goes into a header: only where the provider knows no other way."""
    methods = found.get("token_endpoint_auth_methods_supported") or []
    return bool(settings.OIDC_CLIENT_SECRET) and (
        "client_secret_post" not in methods and "client_secret_basic" in methods
    )


def _word(data: Any) -> str:
    """Returns the provider's error code, as far as it is one."""
    word = data.get("error") if isinstance(data, dict) else None
    return word if isinstance(word, str) and word.replace("_", "").isalnum() and len(word) < 60 else "no reason given"
