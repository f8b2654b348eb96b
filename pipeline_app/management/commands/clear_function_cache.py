"""Makes every process of the installation read and load everything again."""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django.core.management.base import CommandError
from django.db import DatabaseError

from functions_app import generation
from functions_app.management.acting import ActingCommand
from functions_app.roles import ACTIVATE
from functions_app.runtime import get_runtime


class Command(ActingCommand):
    help = (
        "Clears everything held in memory of functions, in every running process. Data and versions stay as they are. "
        "Ends with 1 when the other processes cannot be told."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self.require(ACTIVATE)
        get_runtime().forget()
        caches["modules"].clear()
        caches["default"].clear()
        try:
            generation.start_afresh()
        except DatabaseError as error:
            raise CommandError(
                f"The running processes were not told, as the database does not answer: {error}"
            ) from None
        self.stdout.write("Cleared. Running servers read and load everything again with their next request.")
