"""Server processes that are there: each says so every few seconds, so that others know whom a letter may reach."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import timedelta

from django.db import models
from django.db.models.functions import Now

ALIVE_SECONDS = 30
"""A process that has said nothing for so long has ended: more than a locked database holds it up."""

_here = (0, "")


def this_process() -> str:
    """Returns the name of this process: its host, its number, and a word that no later process has."""
    global _here
    if _here[0] != os.getpid():
        _here = (os.getpid(), f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}")
    return _here[1]


class PresenceQuerySet(models.QuerySet["Presence"]):
    """Times are the database's own, so that clocks of several machines need not agree."""

    def note(self, name: str) -> None:
        """Writes down that a process is there."""
        if not self.filter(pk=name).update(seen_at=Now()):
            self.create(pk=name, seen_at=Now())

    def alive(self) -> PresenceQuerySet:
        return self.filter(seen_at__gte=Now() - timedelta(seconds=ALIVE_SECONDS))

    def prune(self) -> int:
        """Deletes those that have long ended; returns how many."""
        return self.filter(seen_at__lt=Now() - timedelta(days=1)).delete()[0]


class Presence(models.Model):
    """One server process, while it serves."""

    name = models.CharField(max_length=100, primary_key=True)
    seen_at = models.DateTimeField()

    objects = PresenceQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
