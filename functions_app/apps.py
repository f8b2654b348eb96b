"""The app that holds what a function is: data, rules on it, and the admin pages that edit it."""

from __future__ import annotations

from django.apps import AppConfig


class FunctionsAppConfig(AppConfig):
    name = "functions_app"
    verbose_name = "Functions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from functions_app import changes, checks, stories

        changes.connect()
        stories.connect()
        checks.register()
