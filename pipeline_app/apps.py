"""The app that loads, runs and serves functions."""

from __future__ import annotations

from django.apps import AppConfig


class PipelineAppConfig(AppConfig):
    name = "pipeline_app"
    verbose_name = "Serving"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from pipeline_app import checks

        checks.register()
