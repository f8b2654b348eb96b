"""Makes every process of the installation read and load everything again."""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django.core.management.base import BaseCommand

from functions_app import generation
from functions_app.runtime import get_runtime


class Command(BaseCommand):
    help = (
        "Clears everything held in memory of functions, in every running process. Data and versions stay as they are."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        get_runtime().forget()
        caches["modules"].clear()
        caches["default"].clear()
        generation.start_afresh()
        self.stdout.write("Cleared. Running servers read and load everything again with their next request.")
