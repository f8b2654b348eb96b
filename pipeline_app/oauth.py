"""The caller's OAuth token, for the hooks that ask for it and for no other.

A token about to expire is renewed first, by one of all that ask at the same time, in whichever process; the others
wait for it. What can't be renewed is None. Nothing is looked up where no hook asks, or no provider is configured.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from functions_app import oidc
from functions_app.fields import UndecryptableValves
from functions_app.models import OAuthToken
from pipeline_app.database import in_database
from pipeline_app.runners.base import Code
from pipeline_app.snapshot import Person

logger = logging.getLogger(__name__)

Json = dict[str, Any]

ARGUMENT = "__oauth_token__"
PERSONAL = frozenset({"pipe", "inlet", "request", "stream", "outlet", "action", "run"})
"""Hooks that are called for one person: what ``pipes`` returns is kept and shown to others, too."""
WAIT = 15.0
"""Seconds to wait for a token that another request renews."""
LOOK = 0.1
REST = 10.0
"""Seconds without another try after the provider did not answer, so that not every request waits for it."""

_resting: dict[int, float] = {}


def asks(code: Code, hook: str) -> bool:
    """Whether a hook has the token in its signature."""
    found = (code.manifest.get("hooks") or {}).get(hook)
    return isinstance(found, dict) and hook in PERSONAL and ARGUMENT in (found.get("parameters") or ())


class Tokens:
    """What the hooks of one request are told of their caller's token."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._token: Json | None = None
        self._until = 0.0

    async def context(self, context: Json, code: Code, hook: str) -> Json:
        """Returns the context of one call: with the token if the hook asks for it, else as it is."""
        return {**context, "oauth_token": await self._fresh()} if asks(code, hook) else context

    async def _fresh(self) -> Json | None:
        """Returns the token, looked up once for all calls of the request, unless it expires meanwhile."""
        if time.time() >= self._until:
            token = self._token = await token_of(self._person.id)
            ends = None if token is None else token["expires_at"]
            self._until = ends or time.time() + REST
        return self._token


async def token_of(user_id: str) -> Json | None:
    """Returns a user's token as functions see it, renewed where it is due; None when there is none that works."""
    if not oidc.is_on():
        return None
    give_up = time.monotonic() + WAIT
    while True:
        row = await in_database(_stored, user_id)
        if row is None or not row.due:
            return _told(row)
        if not row.refresh_token or _resting.get(row.pk, 0.0) > time.monotonic():
            return _told(row)
        if await in_database(row.claim):
            if await in_database(_renew, row):
                return _told(row)
            continue  # the user signed in anew meanwhile
        if time.monotonic() > give_up:
            return _told(row)
        await asyncio.sleep(LOOK)


def _told(row: OAuthToken | None) -> Json | None:
    return row.to_argument() if row is not None and row.usable else None


def _stored(user_id: str) -> OAuthToken | None:
    row = OAuthToken.objects.filter(user_id=user_id, provider=oidc.PROVIDER_ID).first()
    try:
        if row is not None:
            row.values  # noqa: B018  # is decrypted when it is read
    except UndecryptableValves as error:
        logger.error("The OAuth token of user %s: %s", user_id, error)
        return None
    return row


def _renew(row: OAuthToken) -> bool:
    """Renews a claimed token; false when there is a newer one."""
    try:
        answer = oidc.renewed(row.refresh_token)
    except oidc.Refused as error:
        logger.warning(
            "The provider does not renew the OAuth token of user %s (%s): functions get none until they sign in again",
            row.user_id,
            error,
        )
        return row.give_up()
    except oidc.Unreachable as error:
        logger.warning("The OAuth token of user %s can't be renewed now: %s", row.user_id, error)
        _resting[row.pk] = time.monotonic() + REST
        return row.release()
    except BaseException:
        row.release()
        raise
    _resting.pop(row.pk, None)
    return row.renew(answer)
