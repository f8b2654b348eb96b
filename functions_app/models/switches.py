"""Filter switches: which toggle filters a user has on when a request names none."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from functions_app import generation
from functions_app.fields import TolerantJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet

ALL_MODELS = "*"


class FilterSwitchesQuerySet(WatchedQuerySet["FilterSwitches"]):
    """Users' switches."""


class FilterSwitches(WatchedModel):
    """The toggle filters that one user has on for one model, or for all models that have no row of their own."""

    generation_half = generation.PEOPLE

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="filter_switches")
    model_id = models.CharField(max_length=300, default=ALL_MODELS, help_text="A model, or * for all others.")
    filters = TolerantJSONField(default=list, blank=True, help_text="Ids of the toggle filters that are on.")
    changed_at = models.DateTimeField(auto_now=True)

    objects = FilterSwitchesQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = "filter switches"
        ordering = ["model_id"]
        constraints = [models.UniqueConstraint(fields=["user", "model_id"], name="one_row_of_switches_per_model")]

    def __str__(self) -> str:
        return f"filters of user {self.user_id} for {self.model_id}"
