"""Encrypts all valves and OAuth tokens anew under the first of ``VALVE_KEYS``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from functions_app.fields import Sealed, UndecryptableValves
from functions_app.models import OAuthToken, UserValves, Valves


class Command(BaseCommand):
    help = (
        "Encrypts all valves, user valves and OAuth tokens anew under the first key of VALVE_KEYS. To change keys: "
        "put the new key first, restart, run this command, then remove the old key."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = 0
        lost: list[str] = []
        for model in (Valves, UserValves, OAuthToken):
            for pk in list(model._base_manager.values_list("pk", flat=True)):
                with transaction.atomic():
                    row = model._base_manager.select_for_update().filter(pk=pk).first()
                    sealed = row.__dict__["values"] if row is not None else None
                    if not isinstance(sealed, Sealed):
                        continue
                    try:
                        token = sealed.rotated()
                    except UndecryptableValves:
                        lost.append(str(row))
                        continue
                    # The values are the same, so no process has to hear of it.
                    model._base_manager.filter(pk=pk).update(values=Sealed(token, sealed.column))
                    done += 1
        self.stdout.write(f"{done} row{'s' * (done != 1)} encrypted under the first key.")
        if lost:
            raise CommandError(
                f"No key in VALVE_KEYS decrypts the {', the '.join(lost)}. They were left as they are: "
                "add the key they were saved with, or set them anew. Do not remove old keys yet."
            )
