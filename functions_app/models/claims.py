"""Work that is written down before it is done, so that another process can do it when the first one dies.

A row in the state *building* has a claim: who is at it, and until when that holds. Whoever does the work renews the
claim; one that has run out, or was given back, may be taken by any server process, and only one gets it. A server
renews on its loop; any other process, such as a command, on a thread that is there while it holds a claim.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self

from django.apps import apps
from django.db import connections, models
from django.db.models import F, Q
from django.db.models.functions import Now

from functions_app.models.base import M_co, WatchedQuerySet

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
"""How long a claim holds unless it is renewed."""
RENEW_SECONDS = LEASE.total_seconds() / 4
TAKEN_MOST = 3
"""How often work is taken up whose process ended: more often than that, the work itself ends them."""

FIELDS = frozenset({"claimed_by", "claimed_until", "taken"})
"""What changes with claims and matters to nobody who serves."""

UNCLAIMED: dict[str, Any] = {"claimed_by": "", "claimed_until": None, "taken": 0}
"""The columns of a row that nobody is at."""

held: set[str] = set()
"""The claims of this process, which its server renews."""
renewing = False
"""Whether this process has a server that does."""

_renewer: threading.Thread | None = None
_renewers = threading.Lock()


def new_claim() -> str:
    """Returns a claim of this process under a name that no other has."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(8)}"


def claimed(claim: str) -> dict[str, Any]:
    """Returns the columns of a row that this process claims, and has that renewed where somebody does.

    Times are the database's own, so that clocks of several machines need not agree.
    """
    global _renewer
    with _renewers:
        held.add(claim)
        if not renewing and _renewer is None:
            _renewer = threading.Thread(target=_keep_renewing, name="renewing claims", daemon=True)
            _renewer.start()
    return {"claimed_by": claim, "claimed_until": Now() + LEASE}


def renew(claims: Iterable[str]) -> None:
    """Says that this process is alive and still at what it has claimed."""
    if claims := list(claims):
        for model in apps.get_models():
            if issubclass(model, ClaimedModel):
                rows: Any = model._default_manager
                rows.renew(claims)


def _keep_renewing() -> None:
    """Renews what this process has claimed until that is nothing."""
    global _renewer
    while True:
        time.sleep(RENEW_SECONDS)
        with _renewers:
            if not held:
                _renewer = None
                return
            claims = list(held)
        try:
            renew(claims)
        except Exception:  # it outlives whatever the database does
            logger.exception("Claims on what is being built could not be renewed; trying again in a moment")
        finally:
            connections.close_all()  # this thread's own


class ClaimedQuerySet(WatchedQuerySet[M_co]):
    """Rows of a ``ClaimedModel`` that are being built, and by whom."""

    def abandoned(self) -> Self:
        """Returns what is to be built and nobody is at."""
        return self.filter(Q(claimed_until=None) | Q(claimed_until__lt=Now()), state="building")

    def take(self, claim: str) -> M_co | None:
        """Claims the oldest of what is abandoned and returns it; None when there is nothing, or others were faster."""
        for pk in self.abandoned().order_by("asked_at", "pk").values_list("pk", flat=True)[:5]:
            # One statement decides: of two processes only one finds the row still abandoned.
            if self.filter(pk=pk).abandoned().update(**claimed(claim), taken=F("taken") + 1):
                return self.filter(pk=pk, claimed_by=claim).first()
        held.discard(claim)
        return None

    def renew(self, claims: Iterable[str]) -> None:
        """Says that this process is alive and still at what it has claimed."""
        if claims := list(claims):
            self.filter(claimed_by__in=claims, state="building").update(claimed_until=Now() + LEASE)

    def give_back(self, claim: str) -> None:
        """Lets go of work that is not done: whoever comes next takes it up. That is nobody's failure."""
        held.discard(claim)
        self.filter(claimed_by=claim, state="building").update(**UNCLAIMED)


class ClaimedModel(models.Model):
    """A row with a ``state`` that may be *building*, and ``asked_at``, when that was asked for."""

    claimed_by = models.CharField(max_length=100, blank=True, editable=False)
    claimed_until = models.DateTimeField(null=True, editable=False, help_text="None: nobody is at it.")
    taken = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="How often it was taken up after its process had ended."
    )

    class Meta:
        abstract = True
